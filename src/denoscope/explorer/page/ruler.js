// Distances on the page (L2).

import { CELLS, TILE } from "./tile_store.js";

const MOST = 120; // pixels of a ruler

/** How far neighbouring cells of a level are apart in a plane of a side. */
export function spacingOf(level, side) {
  return Number(side) / CELLS / 2 ** level;
}

/** The length of a ruler, and its pixels: the longest of 1, 2 and 5 times a power of ten that fits. */
export function rulerOf(level, side) {
  const perPixel = (spacingOf(level, side) * CELLS) / TILE;
  const limit = perPixel * MOST;
  const power = 10 ** Math.floor(Math.log10(limit));
  const length = [5, 2, 1].map((k) => k * power).find((value) => value <= limit * (1 + 1e-9));
  return { length, pixels: length / perPixel };
}

export function distanceText(length) {
  const rounded = Number(length.toPrecision(2));
  return rounded >= 0.001 ? String(rounded) : rounded.toExponential().replace("e-", "e−");
}
