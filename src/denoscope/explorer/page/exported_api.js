// What a page without a server answers: the content of its own file.

import { nearest } from "./view_state.js";

export const exported = JSON.parse(document.getElementById("exported").textContent);

/** The answer that the server would give. */
export async function ask(path, fields = {}) {
  if (path === "start") return { address: exported.address };
  if (path === "scene") {
    const other = Object.entries(fields).some(([name, value]) => exported.facts.scene[name] !== value);
    if (other) throw new Error("this page holds the noises of another link; open it without the part from # on");
    return exported.facts;
  }
  if (path === "point") return exported.points[nearest(fields.cell, exported.facts.points)];
  if (path === "pair") return exported.pair?.cells.join() === `${fields.a},${fields.b}` ? exported.pair : null;
  throw new Error("this page has no server: start denoscope explore");
}

/** The tiles that the page holds; the others are `absent`. */
export async function* tileLines(_scene, tiles, _signal, kind) {
  for (const tile of tiles) {
    const data = exported.tiles[kind][tile];
    yield data ? { tile, data, finished: true } : { tile, absent: true, finished: true };
  }
}

export async function* savedLines() {
  throw new Error("this page has no server: start denoscope explore");
}

export async function post() {
  throw new Error("this page has no server: start denoscope explore");
}
