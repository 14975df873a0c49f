// Colours of cells and of the legend.

const NO_CLASS = [60, 60, 60];
const SHADES = [[13, 8, 60], [40, 96, 160], [80, 180, 160], [250, 240, 130]];

/** The colour of each of 256 bytes of a layer. */
export function tableOf(layer, colors) {
  return layer === "class" ? classTable(colors) : shadeTable();
}

function classTable(colors) {
  const table = Array.from({ length: 256 }, () => NO_CLASS);
  colors.forEach((color, k) => {
    table[k + 1] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  });
  return table;
}

function shadeTable() {
  return Array.from({ length: 256 }, (_, byte) => {
    const at = (byte / 255) * (SHADES.length - 1);
    const k = Math.min(Math.floor(at), SHADES.length - 2);
    return SHADES[k].map((value, c) => Math.round(value + (at - k) * (SHADES[k + 1][c] - value)));
  });
}

/** Fill the legend of a layer. */
export function showLegend(box, layer, colors) {
  box.replaceChildren();
  box.className = layer === "class" ? "classes" : "shades";
  if (layer === "class") {
    colors.forEach((color, digit) => box.append(swatch(color, String(digit))));
    box.append(swatch(`rgb(${NO_CLASS})`, "none"));
    return;
  }
  const bar = document.createElement("canvas");
  bar.width = 256;
  bar.height = 1;
  const context = bar.getContext("2d");
  const pixels = context.createImageData(256, 1);
  shadeTable().forEach((color, k) => pixels.data.set([...color, 255], 4 * k));
  context.putImageData(pixels, 0, 0);
  box.append(text("0"), bar, text("1"), text(layer));
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
