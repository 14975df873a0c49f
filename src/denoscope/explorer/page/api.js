// Requests to the explorer's server.

/** The content of a page without a server; this one has one. */
export const exported = null;

/** An answer of the server as JSON; its errors are thrown with their message. */
export async function ask(path, fields = {}, signal = undefined) {
  return answerOf(await reached(`api/${path}?${new URLSearchParams(fields)}`, { signal }));
}

/** The answer to what is sent, as bytes; its errors are thrown with their message. */
export async function post(path, content) {
  const response = await sent(path, content);
  return new Uint8Array(await response.arrayBuffer());
}

async function sent(path, content, signal) {
  const response = await reached(`api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
    signal,
  });
  if (!response.ok) await answerOf(response);
  return response;
}

async function reached(address, request) {
  try {
    return await fetch(address, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is denoscope explore still running?");
  }
}

/** An answer as JSON. An error is `refused` if the same request would fail again. */
async function answerOf(response) {
  let content;
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(`the server answered ${response.status}`);
  }
  if (response.ok) return content;
  throw Object.assign(new Error(content.error ?? `the server answered ${response.status}`), { refused: response.status < 500 });
}

/** The lines of JSON that the server sends as it computes the tiles of a view. */
export function tileLines(scene, tiles, signal, kind) {
  return lines("view", { scene, tiles, kind }, signal);
}

/** The lines of JSON that the server sends as it makes a file of a view. */
export function savedLines(kind, address, signal) {
  return lines("export", { kind, address }, signal);
}

async function* lines(path, content, signal) {
  const response = await sent(path, content, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split("\n");
      rest = whole.pop();
      for (const line of whole) yield JSON.parse(line);
    }
  } finally {
    reader.cancel().catch(() => {}); // the rest is not wanted, or there is none
  }
}
