// What every page of the explorer says: errors, and that a link was copied.

export const find = (id) => document.getElementById(id);

/** Show an error; an empty message hides the last one.
 *  @param again what "Try again" calls; without it there is no such button */
export function say(message, again = null) {
  const box = find("message");
  const button = box.querySelector("button");
  box.querySelector("span").textContent = message;
  box.hidden = !message;
  button.hidden = !again;
  button.onclick = () => {
    say("");
    document.querySelector("main [tabindex='0']")?.focus(); // the button is gone
    again();
  };
}

/** Show why a request failed, and let the user try it again unless it would fail again. */
export function sayFailure(error, again) {
  if (error.name !== "AbortError") say(error.message, error.refused ? null : again);
}

/** Let a click copy the address of the page.
 *  @param writeAddress brings the address up to date */
export function offerLink(writeAddress) {
  find("copy-link").addEventListener("click", async () => {
    writeAddress();
    try {
      await navigator.clipboard.writeText(location.href);
      find("work").textContent = "link copied; denoscope explore --view opens it";
    } catch {
      say(`Copy the address: ${location.href}`);
    }
  });
}
