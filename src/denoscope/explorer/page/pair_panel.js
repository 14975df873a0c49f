// The comparison of two chosen noises: how far their sequences are apart, and the classes on the line between them.

const WIDTH = 300;
const HEIGHT = 120;
const LEFT = 44;
const NO_CLASS = "rgb(60, 60, 60)";
const STROKES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733", "#994f00"];
const SVG = "http://www.w3.org/2000/svg";

export class PairPanel {
  constructor(root) {
    this.root = root;
    this.find = (id) => root.querySelector(`#${id}`);
  }

  hide() {
    this.root.hidden = true;
  }

  /** Show the answer of the server for two points. */
  show({ separation, layers, path, precision }, { colors }) {
    this.root.hidden = false;
    const [first, last] = [path[0], path.at(-1)].map((label) => (label < 0 ? "no class" : String(label)));
    const changes = path.filter((label, k) => k && label !== path[k - 1]).length;
    const far = separation.map((value) => Number(value.toPrecision(3)));
    this.find("pair-facts").textContent =
      `A becomes ${first}, B ${last}; the class changes ${changes} times on the line. ` +
      `x_T are ${far[0]} apart, x_0 ${far.at(-1)} (L2, ${precision}).`;
    drawPath(this.find("path"), path, colors);
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

function drawPath(canvas, path, colors) {
  canvas.width = path.length;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  path.forEach((label, k) => {
    context.fillStyle = label < 0 ? NO_CLASS : colors[label];
    context.fillRect(k, 0, 1, 1);
  });
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
    parts.push(element("text", { x: LEFT - 5, y: y(10 ** power) + 4, "text-anchor": "end" }, `1e${power}`));
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

function element(name, attributes, content = "") {
  const item = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) item.setAttribute(key, value);
  item.textContent = content;
  return item;
}
