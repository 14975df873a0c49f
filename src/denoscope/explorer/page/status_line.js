// What the line below the map says.

import { coordinateText, decimalsOf } from "./exact.js";
import { growthText } from "./growth.js";
import { distanceText } from "./ruler.js";
import { LABELS, cellBytes } from "./tile_store.js";

/** The level of a view, how far its cells are apart, and the precision. */
export function levelText(level, spacing, { float32_to: float32To, deepest }) {
  const precision = level <= float32To ? "float32" : "float64";
  const floor = level >= deepest ? " · precision floor reached" : "";
  return `level ${level} · cells ${distanceText(spacing)} apart · ${precision}${floor}`;
}

/** The coordinates of a position, and what is known about its cell.
 *  @param store the tiles that have arrived */
export function cursorText(position, cell, store, { length }) {
  const decimals = decimalsOf(cell.level, length);
  const [u, v] = position.map((value) => coordinateText(value, length, decimals));
  const tile = store.find(cell.level, cell.i >> 6n, cell.j >> 6n, LABELS);
  const [label, confidence] = tile?.finished ? cellBytes(tile.data, cell.i, cell.j) : [];
  const known = label === undefined ? "" : label ? `${label - 1} (${(confidence / 255).toFixed(2)})` : "no class";
  return [`(${u}, ${v})`, known, growthText(store, cell)].filter(Boolean).join(" · ");
}
