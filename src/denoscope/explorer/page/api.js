// Requests to the explorer's server.

/** The content of a page without a server; this one has one. */
export const exported = null;

/** An answer of the server as JSON; its errors are thrown with their message. */
export async function ask(path, fields = {}, signal = undefined) {
  const response = await fetch(`api/${path}?${new URLSearchParams(fields)}`, { signal });
  return answerOf(response);
}

/** The answer to what is sent, as bytes; its errors are thrown with their message. */
export async function post(path, content) {
  const response = await fetch(`api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
  if (!response.ok) await answerOf(response);
  return new Uint8Array(await response.arrayBuffer());
}

async function answerOf(response) {
  let content;
  try {
    content = await response.json();
  } catch {
    throw new Error(`the server answered ${response.status}`);
  }
  if (!response.ok) throw new Error(content.error ?? `the server answered ${response.status}`);
  return content;
}

/** The lines of JSON that the server sends as it computes the tiles of a view. */
export async function* tileLines(scene, tiles, signal, kind) {
  const response = await fetch("api/view", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ scene, tiles, kind }),
    signal,
  });
  if (!response.ok) await answerOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
