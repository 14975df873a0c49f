// The state of a view and its address: what a link restores.

import { BITS, ONE, cellOf, coordinateText, decimalsOf, nearestCell, positionOf, positionOfCell } from "./exact.js";

export const LAYERS = ["class", "confidence", "margin", "growth"];
const SCENE = [
  "model", "scheduler", "clip_sample", "steps", "base_seed", "direction_seeds", "geometry", "length", "dtype", "lanes", "noise_seed",
  "reject", "labels", "guidance_scale", "image", "image_level", "through", "map",
];
const VIEW = ["level", "at", "layer", "opacity", "a", "b", "step", "layers"];
const LONGEST_ADDRESS = 8192;
const LONGEST_TEXT = 30; // characters of a field that is not understood
const MOST_MISREAD = 8;
const CENTER_GUARD = 2;
const ORIGIN = ["0", "0"];

/** The fields of an address, without its `#`. */
export function fieldsOf(address) {
  return new Map(new URLSearchParams(address.replace(/^#/, "")));
}

/** The names in a field, at most eight; none in a missing field. */
export function namesOf(field = "") {
  return field.split(",").filter(Boolean).slice(0, 8);
}

/** The scene that an address names: texts by field. */
export function sceneOf(address) {
  const fields = fieldsOf(address);
  return Object.fromEntries(SCENE.filter((name) => fields.has(name)).map((name) => [name, fields.get(name)]));
}

/** Whether an address names a model or a map. */
export function hasScene(address) {
  const { model, map } = sceneOf(address);
  return Boolean(model || map);
}

/** Whether something from outside is an address of a view. */
export function isAddress(text) {
  return typeof text === "string" && text.startsWith("#") && text.length <= LONGEST_ADDRESS && hasScene(text);
}

/** The address of a view in a link or its part from `#` on; null if there is none. */
export function addressIn(text) {
  const address = text.trim().replace(/^[^#]*/, "");
  return isAddress(address) ? address : null;
}

/** The view of an address in a scene of a length and depth. What is missing or malformed takes its default.
 *  `misread` lists what is malformed: the name of the field, its text, and what is shown instead. */
export function viewOf(address, { length, deepest, growth = true, middle = ORIGIN }) {
  const fields = fieldsOf(address);
  const layers = growth ? LAYERS : LAYERS.filter((name) => name !== "growth");
  const misread = [];
  const check = (name, understood, shown) => {
    const text = fields.get(name);
    if (text && !understood(text)) misread.push([name, text, shown]);
  };
  const level = integer(fields.get("level"), 0, deepest) ?? 2;
  check("level", (text) => Number(text) === level, `level ${level}`);
  const [u, v] = (fields.get("at") ?? "").split(",");
  const center = [u, v].map((text, k) => inPlane(text === undefined ? null : positionOf(text, length, middle[k])));
  check("at", () => !center.includes(null), "the middle of the plane");
  const layer = layers.includes(fields.get("layer")) ? fields.get("layer") : "class";
  check("layer", (text) => text === layer, "class");
  const opacity = decimal(fields.get("opacity"), 0.1, 1) ?? 1;
  check("opacity", (text) => Number(text) === opacity, `opacity ${opacity}`);
  const points = ["a", "b"].map((name) => cellOfText(fields.get(name) ?? "", length, deepest, middle));
  points.forEach((cell, k) => check("ab"[k], () => cell, "no point"));
  const step = integer(fields.get("step"), 0, 1000) ?? null;
  check("step", (text) => Number(text) === step, "the last step");
  for (const name of fields.keys()) check(name, () => [...SCENE, ...VIEW].includes(name), "nothing");
  return {
    level, middle, layer, opacity, points, step, misread,
    center: center.includes(null) ? [ONE / 2n, ONE / 2n] : center,
    shown: namesOf(fields.get("layers")),
  };
}

/** The part of the plane of which a page without a server has the tiles: its corners, and the middle of its view. */
export function heldBy({ address, facts }) {
  const [from, to] = [0, 1].map((end) => facts.held.map((tiles) => positionOfCell(BigInt(tiles[end]) << 6n, facts.deepest)));
  return { from, to, start: viewOf(address, facts).center };
}

/** One line that says what of an address is not understood; empty if there is nothing. */
export function misreadText(misread) {
  const parts = misread.map(([name, text, shown]) => `${shortened(name)}=${shortened(text)} (shown: ${shown})`);
  return parts.length ? `Not understood in the link: ${parts.slice(0, MOST_MISREAD).join(", ")}` : "";
}

function shortened(text) {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}

/** The address of a view: `viewOf` and `sceneOf` are its inverse. */
export function addressOf(scene, view, length) {
  const fields = new URLSearchParams(scene);
  const { middle = ORIGIN } = view;
  fields.set("level", String(view.level));
  const decimals = decimalsOf(view.level, length) + CENTER_GUARD;
  fields.set("at", view.center.map((position, k) => coordinateText(position, length, decimals, middle[k])).join(","));
  if (view.layer !== "class") fields.set("layer", view.layer);
  if (view.opacity !== 1) fields.set("opacity", String(view.opacity));
  for (const [name, cell] of [["a", view.points[0]], ["b", view.points[1]]]) {
    if (cell) fields.set(name, `${cellText(cell, length, middle)}@${cell.level}`);
  }
  if (view.step !== null) fields.set("step", String(view.step));
  if (view.shown.length) fields.set("layers", view.shown.join(","));
  return "#" + fields.toString().replaceAll("%2C", ",").replaceAll("%40", "@");
}

/** The address of the whole plane of another scene, with the layers that a view shows. */
export function startOf(scene, view) {
  const { layer, opacity, shown } = view ?? {};
  const fields = new URLSearchParams(scene);
  if (layer && layer !== "class") fields.set("layer", layer);
  if (opacity && opacity !== 1) fields.set("opacity", String(opacity));
  if (shown?.length) fields.set("layers", shown.join(","));
  return `#${fields}`;
}

/** The coordinates of a cell. */
export function cellText(cell, length, middle = ORIGIN) {
  const decimals = decimalsOf(cell.level, length);
  return [cell.i, cell.j].map((index, k) => coordinateText(positionOfCell(index, cell.level), length, decimals, middle[k])).join(",");
}

/** The cell of a level that contains a position [u, v]. */
export function cellAt(position, level) {
  const [i, j] = position.map((value) => cellOf(value, level));
  return { level, i, j };
}

/** The address of a cell for the server. */
export function cellKey(cell) {
  return `${cell.level}/${cell.i}/${cell.j}`;
}

/** The cell of an address for the server. */
export function cellOfKey(key) {
  const [level, i, j] = key.split("/");
  return { level: Number(level), i: BigInt(i), j: BigInt(j) };
}

/** The key of the cell among `keys` that is nearest to a cell. */
export function nearest(key, keys) {
  const place = (text) => middleOf(cellOfKey(text));
  const [u, v] = place(key);
  const far = keys.map((other) => {
    const [x, y] = place(other);
    return (x - u) ** 2n + (y - v) ** 2n;
  });
  return keys[far.reduce((best, value, k) => (value < far[best] ? k : best), 0)];
}

/** The middle of a cell, as a position. */
export function middleOf(cell) {
  const half = 1n << (BITS - 7n - BigInt(cell.level));
  return [cell.i, cell.j].map((index) => positionOfCell(index, cell.level) + half);
}

function cellOfText(text, length, deepest, middle) {
  const found = /^([^,@]+),([^,@]+)@([0-9]{1,2})$/.exec(text);
  if (!found || Number(found[3]) > deepest) return null;
  const level = Number(found[3]);
  const positions = [found[1], found[2]].map((part, k) => positionOf(part, length, middle[k]));
  if (positions.includes(null)) return null;
  const [i, j] = positions.map((position) => nearestCell(position, level));
  return i === null || j === null ? null : { level, i, j };
}

function inPlane(position) {
  return position === null || position < 0n || position > ONE ? null : position;
}

function integer(text, least, most) {
  return /^[0-9]{1,4}$/.test(text ?? "") ? Math.min(Math.max(Number(text), least), most) : null;
}

function decimal(text, least, most) {
  return /^[0-9](\.[0-9]{1,3})?$/.test(text ?? "") ? Math.min(Math.max(Number(text), least), most) : null;
}
