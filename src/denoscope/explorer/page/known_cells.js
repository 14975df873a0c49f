// Labels of points that were computed by themselves: they take the place of those with which a tile filled its cells.

import { precisionOf } from "./status_line.js";
import { CELLS, LABELS } from "./tile_store.js";

const COMPUTED = 1; // the status
const KEPT = 1000;

export class KnownCells {
  /** @param store the tiles that have arrived */
  constructor(store) {
    this.store = store;
    this.cells = [];
  }

  /** Enter another scene. */
  enter(facts) {
    this.facts = facts;
    this.cells = [];
  }

  /** Take the label of a point (−1 for no class), with its confidence and margin if they are known, and correct the tiles.
   *  @returns the keys of the tiles that had another label */
  add(cell, { label, confidence, margin, precision }) {
    const shares = confidence === undefined ? [] : [byteOf(confidence), byteOf(margin), COMPUTED];
    const known = this.of(cell) ?? { cell };
    Object.assign(known, { precision, bytes: [label + 1, ...shares] });
    this.cells = [...this.cells.filter((other) => other !== known), known].slice(-KEPT);
    return this.store.keys(LABELS).filter((key) => this.correct(known, key));
  }

  /** Correct a tile that has arrived. */
  arrived(key) {
    for (const known of this.cells) this.correct(known, key);
  }

  /** Give the cell of a tile its known label, in the precision of the tile; says whether it had another one. */
  correct(known, key) {
    const tile = this.store.get(key, LABELS);
    const [level, x, y] = key.split("/");
    const at = indexIn(known.cell, Number(level), BigInt(x), BigInt(y));
    if (!tile?.data || at === null || precisionOf(Number(level), this.facts) !== known.precision) return false;
    const shown = tile.data[at];
    known.bytes.forEach((byte, plane) => {
      tile.data[plane * CELLS * CELLS + at] = byte;
    });
    if (shown === known.bytes[0]) return false;
    if (tile.finished) known.filled = shown - 1;
    return true;
  }

  of(cell) {
    return this.cells.find((known) => ["level", "i", "j"].every((name) => known.cell[name] === cell[name]));
  }

  /** Says that the map showed another label for a cell; empty if it did not. */
  text(cell) {
    const filled = this.of(cell)?.filled;
    if (filled === undefined) return "";
    return `The map showed this cell as ${filled < 0 ? "no class" : filled} without computing it; it is corrected now.`;
  }
}

/** Where a tile holds the point of a cell, which lies on all finer lattices and maybe on coarser ones; null if it does not. */
function indexIn(cell, level, x, y) {
  const fall = BigInt(Math.max(level - cell.level, 0));
  const rise = BigInt(Math.max(cell.level - level, 0));
  if ([cell.i, cell.j].some((index) => (index >> rise) << rise !== index)) return null;
  const [i, j] = [cell.i, cell.j].map((index) => (index << fall) >> rise);
  return i >> 6n === x && j >> 6n === y ? Number(j & 63n) * CELLS + Number(i & 63n) : null;
}

function byteOf(share) {
  return Math.round(255 * Math.min(Math.max(share ?? 0, 0), 1));
}
