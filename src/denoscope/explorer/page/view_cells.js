// The cells of a view as JSON.

import { coordinateText, decimalsOf, positionOfCell } from "./exact.js";
import { spacingOf } from "./ruler.js";
import { LABELS, OUTSIDE } from "./tile_store.js";

/** A file of the labels that the view shows: facts, view, and the cells of each tile in rows along v.
 *  @param keys the tiles in view; @param store the tiles that have arrived */
export function cellsFile({ address, facts, view }, keys, store) {
  const decimals = decimalsOf(view.level, facts.length);
  const text = (position, k) => coordinateText(position, facts.length, decimals, view.middle[k]);
  const tiles = [...keys].sort().flatMap((key) => {
    const tile = store.get(key, LABELS);
    if (!tile?.data) return [];
    const [level, x, y] = key.split("/");
    const [u, v] = [x, y].map((index, k) => text(positionOfCell(BigInt(index) << 6n, Number(level)), k));
    return [{ tile: key, finished: tile.finished, u, v, ...planesOf(tile.data, facts.unstored) }];
  });
  const { level, center, layer } = view;
  const content = {
    denoscope: "cells",
    address,
    facts,
    view: { level, center: center.map(text), layer },
    spacing: spacingOf(level, facts.length),
    status: ["unknown", "computed", "backed", "probed"],
    tiles,
  };
  return new TextEncoder().encode(JSON.stringify(content));
}

/** Labels (−1 for no class and for cells that are not known), confidence and margin from 0 to 1 if they are stored, and status; 64 numbers a row, the smallest v first. */
function planesOf(data, unstored = []) {
  const size = data.length / 4;
  const status = Array.from(data.subarray(3 * size), (byte) => (byte === OUTSIDE ? 0 : byte)); // what no map holds is unknown
  const plane = (k) => status.map((known, at) => (known ? data[k * size + at] : 0));
  const share = (byte) => Number((byte / 255).toFixed(3));
  const shares = { confidence: plane(1).map(share), margin: plane(2).map(share) };
  for (const name of unstored) delete shares[name];
  return { label: plane(0).map((byte) => byte - 1), ...shares, status };
}
