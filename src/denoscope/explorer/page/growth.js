// The growth layer: how much the denoising map stretches distances in the plane, at 16 × 16 points of a tile.

import { CELLS } from "./tile_store.js";

export const GROWTH = "growth";
const LOWEST = -8; // the code of a growth g is 2^12 (log10 g + 8) in two bytes; 0 is unknown
const PER_DECADE = 4096;
const SHOWN = [-1, 3]; // decades of the legend

/** Where the high byte of a code lies in the legend: 0 to 1; null where the growth is unknown. */
export function shareOf(byte) {
  const [low, high] = SHOWN;
  const decade = (256 * byte + 128) / PER_DECADE + LOWEST;
  return byte ? Math.min(Math.max((decade - low) / (high - low), 0), 1) : null;
}

/** The names of the decades of the legend. */
export function decadeNames() {
  const [low, high] = SHOWN;
  return Array.from({ length: high - low + 1 }, (_, k) => String(Number((10 ** (low + k)).toPrecision(1))));
}

/** The growth at a cell, as text; empty where it is unknown.
 *  @param store the tiles that have arrived */
export function growthText(store, { level, i, j }) {
  const tile = store.find(level, i >> 6n, j >> 6n, GROWTH);
  if (!tile?.finished) return "";
  const at = Number(j & 63n) * CELLS + Number(i & 63n);
  const code = 256 * tile.data[at] + tile.data[CELLS * CELLS + at];
  return code ? `growth ${Number((10 ** (code / PER_DECADE + LOWEST)).toPrecision(3))}` : "growth unknown";
}
