// The comparison of two chosen noises: how far their sequences are apart, and the classes on the line between them.

import { NO_CLASS } from "./palette.js";

const WIDTH = 300;
const HEIGHT = 120;
const LEFT = 44;
const STROKES = ["#0e8ef3", "#e97d2d", "#0a733e", "#ae4d8c", "#66ccee", "#e14467", "#d3a0b2", "#7d460b"];
const SVG = "http://www.w3.org/2000/svg";

export class PairPanel {
  constructor(root) {
    this.root = root;
    this.find = (id) => root.querySelector(`#${id}`);
  }

  hide() {
    this.root.hidden = true;
  }

  /** Show the answer of the server for two points, with the classes on the line between them, or for two samples. */
  show({ separation, layers, path, ends, classes, precision }, { colors, noised_image: noisedImage }) {
    this.root.hidden = false;
    const labels = ends ?? [path[0], path.at(-1)];
    const known = labels.some((label) => label !== null);
    const become = known ? `A becomes ${wordOf(labels[0])}, B ${wordOf(labels[1])}${path ? changesOf(path) : ""}. ` : "";
    const far = separation.map((value) => Number(value.toPrecision(3)));
    const first = noisedImage ? "images with noise" : "noises x_T";
    const begin = far.length > 1 ? `The ${first} are ${far[0]} apart, the images x_0` : "The images x_0 are";
    const end = far.length > 1 ? `${far.at(-1)}` : `${far[0]} apart`;
    this.find("pair-facts").textContent = `${become}${begin} ${end} (L2, ${precision}).`;
    const strips = path ? [path] : classes;
    const canvas = this.find("path");
    canvas.parentElement.hidden = !strips;
    if (strips) drawStrips(canvas, strips, colors);
    if (classes) {
      const meaning = "Class of the estimate at each step, A above B";
      canvas.setAttribute("aria-label", meaning);
      this.find("path-caption").textContent = meaning;
    }
    const curves = [["x_t", separation], ...Object.entries(layers)];
    this.find("separation").replaceChildren(chart(curves));
    const names = curves.map(([name], k) => {
      const item = document.createElement("span");
      item.className = "swatch";
      const mark = document.createElement("i");
      mark.style.background = stroke(k);
      item.append(mark, name);
      return item;
    });
    this.find("curves").replaceChildren(...names);
  }
}

function stroke(k) {
  return k ? STROKES[(k - 1) % STROKES.length] : "currentColor";
}

function wordOf(label) {
  if (label === null) return "an image without a label";
  return label < 0 ? "no class" : String(label);
}

function changesOf(path) {
  const count = path.filter((label, k) => k && label !== path[k - 1]).length;
  return `; the class ${["does not change", "changes once", "changes twice"][count] ?? `changes ${count} times`} on the line`;
}

/** Classes as coloured cells, one row for each strip. */
function drawStrips(canvas, strips, colors) {
  canvas.width = strips[0].length;
  canvas.height = strips.length;
  const context = canvas.getContext("2d");
  strips.forEach((labels, row) => labels.forEach((label, k) => {
    context.fillStyle = colors[label] ?? `rgb(${NO_CLASS})`;
    context.fillRect(k, row, 1, 1);
  }));
}

/** Curves over the steps with a logarithmic axis. */
function chart(curves) {
  const positive = curves.flatMap(([, values]) => values.filter((value) => value > 0));
  const low = Math.floor(Math.log10(Math.min(...positive, 1)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...positive, 1))), low + 1);
  const most = Math.max(...curves.map(([, values]) => values.length)) - 1;
  const x = (step) => LEFT + (step / Math.max(most, 1)) * (WIDTH - LEFT - 6);
  const y = (value) => 6 + ((high - Math.log10(value)) / (high - low)) * (HEIGHT - 24);
  const parts = [];
  for (let power = low; power <= high; power += Math.max(1, Math.ceil((high - low) / 4))) {
    parts.push(element("line", { x1: LEFT, x2: WIDTH - 6, y1: y(10 ** power), y2: y(10 ** power), class: "grid" }));
    parts.push(element("text", { x: LEFT - 5, y: y(10 ** power) + 4, "text-anchor": "end" }, powerOfTen(power)));
  }
  parts.push(element("text", { x: WIDTH - 6, y: HEIGHT - 2, "text-anchor": "end" }, "step"));
  curves.forEach(([name, values], k) => {
    const offset = name === "x_t" ? 0 : 0.5; // the states of a layer belong to a step, not to its ends
    const points = values.flatMap((value, step) => (value > 0 ? [`${x(step + offset)},${y(value)}`] : []));
    parts.push(element("polyline", { points: points.join(" "), stroke: stroke(k), fill: "none", "stroke-width": 1.5 }));
  });
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": "Separation at each step" });
  svg.append(...parts);
  return svg;
}

function powerOfTen(power) {
  return power > -3 && power < 4 ? String(10 ** power) : `1e${power}`;
}

function element(name, attributes, content = "") {
  const item = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
  item.textContent = content;
  return item;
}
