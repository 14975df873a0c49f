// Tiles that have arrived, and the one stream that brings those of the present view.

import { tileLines } from "./api.js";
import { bytesOf, inflated } from "./bytes.js";

export const CELLS = 64;
export const TILE = 256; // pixels of a tile on the page
export const LABELS = "labels";
export const OUTSIDE = 255; // the status of places without a known cell
const STATUS = 3;
const PLANE = CELLS * CELLS;
const KEPT = 600;
const MOST = 160; // tiles of a request
const RISE = 6;

export class TileStore {
  /** @param onTile called with the key of each tile that has arrived or failed
   *  @param onWork called with the number of tiles that are not finished, and the first error among those in view */
  constructor({ onTile, onWork }) {
    this.onTile = onTile;
    this.onWork = onWork;
    this.tiles = new Map();
    this.stream = null;
    this.scene = null;
    this.kind = LABELS;
  }

  /** Show another scene: its tiles have nothing in common with those of before. */
  enter(scene) {
    this.stop();
    this.scene = scene;
    this.tiles.clear();
  }

  stop() {
    this.stream?.abort();
    this.stream = null;
  }

  /** Ask for tiles of a kind, the most important first, in place of those that were asked for before. */
  async want(keys, kind) {
    const missing = keys.filter((key) => !this.get(key, kind)?.finished && !this.get(key, kind)?.error);
    this.stop();
    this.kind = kind;
    const left = new Set(missing);
    const tellWork = () => this.onWork(left.size, keys.map((key) => this.error(key, kind)).find(Boolean));
    tellWork();
    if (!missing.length) return;
    const stream = new AbortController();
    this.stream = stream;
    try {
      for await (const line of this.lines(missing, stream.signal, kind)) {
        const data = line.data ? await inflated(bytesOf(line.data)) : this.get(line.tile)?.data;
        if (this.stream !== stream) return;
        this.put(line.tile, { data, finished: line.finished ?? false, error: line.error, absent: line.absent });
        if (line.finished || line.error) left.delete(line.tile);
        tellWork();
      }
      if (left.size) throw new Error("the server ended its answer too early");
    } catch (error) {
      if (this.stream === stream) {
        for (const key of left) this.put(key, { ...this.get(key), error: error.message });
        left.clear();
        tellWork();
      }
    }
  }

  async *lines(keys, signal, kind) {
    for (let k = 0; k < keys.length; k += MOST) yield* tileLines(this.scene, keys.slice(k, k + MOST), signal, kind);
  }

  get(key, kind = this.kind) {
    return this.tiles.get(`${kind} ${key}`);
  }

  /** The keys of the tiles of a kind. */
  keys(kind) {
    return [...this.tiles.keys()].map((name) => name.split(" ")).flatMap(([of, key]) => (of === kind ? [key] : []));
  }

  put(key, tile) {
    const name = `${this.kind} ${key}`;
    if (this.tiles.get(name)?.finished && !tile.finished) return;
    this.tiles.delete(name);
    this.tiles.set(name, tile);
    while (this.tiles.size > KEPT) this.tiles.delete(this.tiles.keys().next().value);
    this.onTile(key);
  }

  /** Forget failures, so that their tiles are asked for again: by `want` alone they are not, since it follows each of them. */
  forgetFailures() {
    for (const [name, tile] of this.tiles) {
      if (!tile.error) continue;
      delete tile.error;
      this.onTile(name.split(" ")[1]);
    }
  }

  /** The planes of a tile of the present kind, or the part of the nearest tile above it that has arrived; null without one. */
  find(level, x, y, kind = this.kind) {
    for (let rise = 0; rise <= Math.min(RISE, level); rise += 1) {
      const shift = BigInt(rise);
      const tile = this.get(`${level - rise}/${x >> shift}/${y >> shift}`, kind);
      if (tile?.data) return rise ? { data: part(tile.data, rise, x, y), finished: false } : tile;
    }
    return null;
  }

  error(key, kind = this.kind) {
    return this.get(key, kind)?.error;
  }
}

/** The part of a tile that a tile `rise` levels below it covers. */
function part(data, rise, x, y) {
  const mask = (1n << BigInt(rise)) - 1n;
  const size = CELLS >> rise;
  const left = Number(x & mask) * size;
  const bottom = Number(y & mask) * size;
  const found = new Uint8Array(4 * PLANE);
  for (let plane = 0; plane < 4; plane += 1) {
    for (let row = 0; row < CELLS; row += 1) {
      const from = plane * PLANE + (bottom + (row >> rise)) * CELLS + left;
      const to = plane * PLANE + row * CELLS;
      for (let column = 0; column < CELLS; column += 1) found[to + column] = data[from + (column >> rise)];
    }
  }
  return found;
}

/** Draw a plane of a tile on a canvas of 64 × 64 pixels, the largest v in the first row. */
export function drawTile(canvas, data, plane, table) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(CELLS, CELLS);
  for (let row = 0; row < CELLS; row += 1) {
    for (let column = 0; column < CELLS; column += 1) {
      const color = table[data[plane * PLANE + row * CELLS + column]];
      const at = 4 * ((CELLS - 1 - row) * CELLS + column);
      image.data[at] = color[0];
      image.data[at + 1] = color[1];
      image.data[at + 2] = color[2];
      image.data[at + 3] = data[STATUS * PLANE + row * CELLS + column] === OUTSIDE ? 0 : 255;
    }
  }
  context.putImageData(image, 0, 0);
}

/** The bytes of one cell: label + 1, confidence, margin, status. */
export function cellBytes(data, i, j) {
  const at = Number(j & 63n) * CELLS + Number(i & 63n);
  return [0, 1, 2, 3].map((plane) => data[plane * PLANE + at]);
}
