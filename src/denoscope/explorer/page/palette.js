// Colours of cells and of the legend.

import { GROWTH, decadeNames, shareOf } from "./growth.js";

export const NO_CLASS = [60, 60, 60];
export const GREY = [128, 128, 128];
const SHADES = [[13, 8, 60], [40, 96, 160], [80, 180, 160], [250, 240, 130]];

/** The colour of each of 256 bytes of a layer; grey for a layer that a map does not store. */
export function tableOf(layer, colors, unstored = []) {
  if (unstored.includes(layer)) return Array(256).fill(GREY);
  if (layer === "class") return classTable(colors);
  return Array.from({ length: 256 }, (_, byte) => shade(layer === GROWTH ? shareOf(byte) : byte / 255));
}

function classTable(colors) {
  const table = Array.from({ length: 256 }, () => NO_CLASS);
  colors.forEach((color, k) => {
    table[k + 1] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  });
  return table;
}

/** The colour of a share from 0 to 1; that of no class for null. */
function shade(share) {
  if (share === null) return NO_CLASS;
  const at = share * (SHADES.length - 1);
  const k = Math.min(Math.floor(at), SHADES.length - 2);
  return SHADES[k].map((value, c) => Math.round(value + (at - k) * (SHADES[k + 1][c] - value)));
}

/** What the shades of a layer mean: its name with the unit, and numbers at equal distances. */
export function scaleOf(layer) {
  return layer === GROWTH ? { name: "growth (L2 per L2)", marks: decadeNames() } : { name: layer, marks: ["0", "1"] };
}

/** Fill the legend of a layer. */
export function showLegend(box, layer, { colors, unstored = [] }) {
  box.replaceChildren();
  box.className = layer === "class" ? "classes" : "shades";
  if (layer === "class") {
    colors.forEach((color, digit) => box.append(swatch(color, String(digit))));
    box.append(swatch(`rgb(${NO_CLASS})`, "no class"));
    return;
  }
  if (unstored.includes(layer)) {
    box.append(swatch(`rgb(${GREY})`, `${layer} is not stored`));
    return;
  }
  const bar = document.createElement("canvas");
  bar.width = 256;
  bar.height = 1;
  const context = bar.getContext("2d");
  const pixels = context.createImageData(256, 1);
  for (let k = 0; k < 256; k += 1) pixels.data.set([...shade(k / 255), 255], 4 * k);
  context.putImageData(pixels, 0, 0);
  const { name, marks } = scaleOf(layer);
  const scale = document.createElement("span");
  scale.className = "scale";
  const numbers = document.createElement("span");
  numbers.className = "marks";
  numbers.append(...marks.map(text));
  scale.append(bar, numbers);
  box.append(scale, text(name));
}

function swatch(color, name) {
  const item = document.createElement("span");
  item.className = "swatch";
  const mark = document.createElement("i");
  mark.style.background = color;
  item.append(mark, name);
  return item;
}

function text(content) {
  const item = document.createElement("span");
  item.textContent = content;
  return item;
}
