// Panels that a button opens and closes.

/** Let a button open and close a panel, and Escape within the panel close it.
 *  @param opened called after the panel is opened
 *  @returns a function that opens the panel, or closes it when it is called with false */
export function disclosure(panel, button, opened) {
  const open = (on = true) => {
    panel.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    if (on) opened();
  };
  button.addEventListener("click", () => open(panel.hidden));
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    open(false);
    button.focus();
  });
  return open;
}
