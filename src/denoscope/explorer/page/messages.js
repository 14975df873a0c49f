// What every page of the explorer says: errors, and that a link was copied.

export const find = (id) => document.getElementById(id);

/** Show an error; an empty message hides the last one. */
export function say(message) {
  find("message").textContent = message;
  find("message").hidden = !message;
}

/** Let a click copy the address of the page.
 *  @param writeAddress brings the address up to date */
export function offerLink(writeAddress) {
  find("copy-link").addEventListener("click", async () => {
    writeAddress();
    try {
      await navigator.clipboard.writeText(location.href);
      find("work").textContent = "link copied";
    } catch {
      say(`Copy the address: ${location.href}`);
    }
  });
}
