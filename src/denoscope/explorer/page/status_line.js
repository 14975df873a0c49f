// What the line below the map says.

import { coordinateText, decimalsOf } from "./exact.js";
import { growthText } from "./growth.js";
import { find } from "./messages.js";
import { distanceText, spacingOf } from "./ruler.js";
import { LABELS, OUTSIDE, cellBytes } from "./tile_store.js";

/** The level of a view, how far its cells are apart, and the precision; of a stored map how far its own cells are apart.
 *  @param points those of a page without a server, whose levels end before the precision does */
export function levelText(level, { length, float32_to: float32To, deepest, map, spacing: stored, points }) {
  if (map) return `level ${level} · cells ${stored.map(distanceText).join(" and ")} apart along u and v`;
  const precision = precisionOf(level, { float32_to: float32To });
  const end = points ? "the last level of this page" : "the last level that it resolves";
  return `level ${level} · cells ${distanceText(spacingOf(level, length))} apart · ${precision}${level >= deepest ? ` · ${end}` : ""}`;
}

/** The precision in which the cells of a level are computed. */
export function precisionOf(level, { float32_to: float32To }) {
  return level <= float32To ? "float32" : "float64";
}

/** Say how many tiles are left, and then the error of one that failed; other news stays where no tile is left. Screen readers do not read the number, which changes often. */
export function showWork(left, error) {
  const text = Object.assign(document.createElement("span"), { textContent: `computing ${left} ${left === 1 ? "tile" : "tiles"}` });
  text.setAttribute("aria-hidden", "true");
  if (left) find("work").replaceChildren(text);
  else find("work").querySelector("[aria-hidden]")?.remove();
  find("failure").hidden = left > 0 || !error;
  find("failure").querySelector("span").textContent = `a tile failed: ${error}`;
}

/** The coordinates of a position, and what is known about its cell.
 *  @param store the tiles that have arrived */
export function cursorText(position, cell, store, { length, middle = ["0", "0"], unstored = [] }) {
  const decimals = decimalsOf(cell.level, length);
  const [u, v] = position.map((value, k) => coordinateText(value, length, decimals, middle[k]));
  const known = labelText(cell, store, unstored);
  return [`(u, v) = (${u}, ${v})`, known, growthText(store, cell)].filter(Boolean).join(" · ");
}

function labelText(cell, store, unstored) {
  const [x, y] = [cell.i >> 6n, cell.j >> 6n];
  if (store.get(`${cell.level}/${x}/${y}`, LABELS)?.absent) return "not exported";
  const tile = store.find(cell.level, x, y, LABELS);
  if (!tile?.finished) return "";
  const [label, confidence, , status] = cellBytes(tile.data, cell.i, cell.j);
  if (status === OUTSIDE) return "";
  const sure = unstored.includes("confidence") ? "" : `, confidence ${(confidence / 255).toFixed(2)}`;
  return label ? `class ${label - 1}${sure}` : "no class";
}
