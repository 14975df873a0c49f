// One page of the samples of a recording, with their final images.

import { bytesOf } from "./bytes.js";
import { drawImage } from "./frames.js";

export class SheetGrid {
  /** @param chosen called with the name of a sample, and whether it is to be compared with the first one */
  constructor(root, chosen) {
    this.root = root;
    this.cells = new Map();
    root.addEventListener("keydown", (event) => this.move(event));
    root.addEventListener("focusin", (event) => this.enter(event.target));
    root.addEventListener("click", (event) => {
      const cell = event.target.closest(".sample");
      if (cell) chosen(cell.dataset.name, event.shiftKey);
    });
  }

  /** Show the answer of the server for the rows of a page. */
  show({ rows, names, images, errors }) {
    const shown = images && { ...images, bytes: bytesOf(images.data) };
    const order = Object.keys(names).map(Number);
    const same = commonLength(Object.values(names));
    this.cells = new Map(order.map((row) => [row, cellOf(row, names[row], same)]));
    rows.forEach((row, k) => {
      const canvas = document.createElement("canvas");
      drawImage(canvas, shown, k);
      this.cells.get(row).prepend(canvas);
    });
    for (const [row, error] of Object.entries(errors)) {
      const broken = Object.assign(document.createElement("em"), { className: "broken", textContent: "damaged", title: error });
      this.cells.get(Number(row)).prepend(broken);
    }
    this.root.replaceChildren(...this.cells.values());
    this.root.scrollTop = 0;
    const [first] = this.cells.values();
    if (first) first.tabIndex = 0;
  }

  /** Write the labels on the samples. */
  label(labels, colors) {
    for (const [row, cell] of this.cells) {
      const label = labels?.[row] ?? null;
      const badge = cell.querySelector(".badge");
      badge.textContent = labels ? labelText(label) : "";
      badge.style.borderBottomColor = label !== null && label >= 0 ? colors[label % colors.length] : "transparent";
      cell.setAttribute("aria-label", `${cell.dataset.name}${labels ? `, ${labelText(label, true)}` : ""}`);
    }
  }

  /** Mark the chosen samples. */
  mark(names) {
    for (const cell of this.cells.values()) {
      const k = names.indexOf(cell.dataset.name);
      cell.setAttribute("aria-pressed", String(k >= 0));
      if (k >= 0) cell.dataset.mark = "AB"[k];
      else delete cell.dataset.mark;
    }
  }

  /** Move the focus between samples with arrow keys. */
  move(event) {
    const cells = [...this.cells.values()];
    const at = cells.indexOf(event.target);
    if (at < 0) return;
    const columns = cells.filter((cell) => cell.offsetTop === cells[0].offsetTop).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -at, End: cells.length - 1 - at }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const next = cells[at + by];
    if (!next) return;
    next.focus();
  }

  /** Let Tab return to the sample that has the focus. */
  enter(focused) {
    for (const cell of this.cells.values()) cell.tabIndex = cell === focused ? 0 : -1;
  }
}

/** A label in words: short on a sample, long for a screen reader. */
export function labelText(label, long = false) {
  if (label === null) return long ? "label unknown" : "?";
  if (label < 0) return long ? "no class" : "–";
  return long ? `label ${label}` : String(label);
}

/** How many characters at the beginning are the same in all names, up to the last separator; 0 for a single name. */
function commonLength(names) {
  const [first = ""] = names;
  const differs = [...first].findIndex((letter, k) => names.some((name) => name[k] !== letter));
  return differs < 0 ? 0 : first.slice(0, differs).search(/[^_./-]*$/);
}

function cellOf(row, name, same) {
  const cell = Object.assign(document.createElement("button"), { type: "button", className: "sample", title: name, tabIndex: -1 });
  Object.assign(cell.dataset, { name, row });
  const text = Object.assign(document.createElement("span"), { className: "name", textContent: name.slice(same) });
  const badge = Object.assign(document.createElement("span"), { className: "badge" });
  cell.append(text, badge);
  return cell;
}
