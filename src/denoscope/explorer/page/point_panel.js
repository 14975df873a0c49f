// The panel of a chosen noise: its sequence, class probabilities and states of layers.

import { bytesOf } from "./bytes.js";
import { drawImage, entryAt, putImage } from "./frames.js";

const FRAME = 400; // milliseconds of a step while playing

export class PointPanel {
  /** @param on {stepped, layered}: called with the step, and with the names of the layers to show */
  constructor(root, on) {
    this.on = on;
    this.find = (id) => root.querySelector(`#${id}`);
    this.slider = this.find("step");
    this.slider.addEventListener("input", () => this.goTo(Number(this.slider.value)));
    this.find("play").addEventListener("click", () => this.toggle());
    this.find("add-layer").addEventListener("change", (event) => {
      const name = event.target.value;
      event.target.value = "";
      if (name && !this.shown.includes(name)) on.layered([...this.shown, name].slice(-8));
    });
    this.shown = [];
    this.timer = null;
  }

  /** List the layers of a model. */
  offer(layers) {
    const first = document.createElement("option");
    first.value = "";
    first.textContent = "choose …";
    const options = layers.map((name) => Object.assign(document.createElement("option"), { value: name, textContent: name }));
    this.find("add-layer").replaceChildren(first, ...options);
  }

  /** Show the answer of the server for a point. */
  show(point, { colors, shown, step, noisedImage = false }) {
    this.stop();
    this.point = point;
    this.colors = colors;
    this.first = noisedImage ? "the image with noise" : "x_T, the noise";
    this.shown = shown;
    this.states = { ...point.states, bytes: bytesOf(point.states.data) };
    this.estimates = point.estimates && { ...point.estimates, bytes: bytesOf(point.estimates.data) };
    this.find("estimate").parentElement.hidden = !point.estimates;
    this.find("panel-hint").hidden = true;
    this.find("point").hidden = false;
    this.find("point-title").textContent = point.title ?? (point.label < 0 ? "No class" : `Becomes ${point.label}`);
    this.find("point-facts").textContent = point.facts ?? factsOf(point);
    this.slider.max = String(this.states.count - 1);
    this.showLayers();
    this.goTo(step ?? this.states.count - 1, { quiet: true });
  }

  hide() {
    this.stop();
    this.point = null;
    this.find("point").hidden = true;
    this.find("panel-hint").hidden = false;
  }

  /** Show a state: 0 is x_T, the last is x_0. */
  goTo(step, { quiet = false } = {}) {
    if (!this.point) return;
    this.at = Math.min(Math.max(step, 0), this.states.count - 1);
    const last = this.states.count - 1;
    this.slider.value = String(this.at);
    const name = this.at === last ? "x_0, the image" : this.at === 0 ? this.first : `after step ${this.at} of ${last}`;
    this.slider.setAttribute("aria-valuetext", name);
    const state = this.find("state");
    drawImage(state, this.states, this.at);
    state.setAttribute("aria-label", `State ${name}`);
    const range = this.states.ranges[this.at];
    this.find("state-caption").textContent = `${name}${range > 1 ? `, shown from −${range} to ${range}` : ""}${scaleOf(this.states)}`;
    this.showEstimate(name);
    this.showBars();
    for (const redraw of this.redraws) redraw();
    if (!quiet) this.on.stepped(this.at);
  }

  showEstimate(name) {
    if (!this.estimates) return;
    const { steps } = this.estimates;
    const estimate = this.find("estimate");
    drawImage(estimate, this.estimates, steps ? entryAt(steps, this.at) : this.at);
    estimate.setAttribute("aria-label", `Estimate of x_0 at ${name}`);
  }

  showBars() {
    const probabilities = this.point.probabilities[this.at] ?? [];
    const rows = probabilities.map((value, digit) => {
      const row = document.createElement("div");
      row.className = "bar";
      const track = document.createElement("span");
      const fill = document.createElement("i");
      fill.style.width = `${100 * value}%`;
      fill.style.background = this.colors[digit];
      track.append(fill);
      row.append(label(String(digit)), track, label(value.toFixed(3)));
      return row;
    });
    this.find("bars").replaceChildren(...rows);
    const known = this.point.probabilities.filter((values) => values.length).length;
    this.find("probabilities").closest("figure").hidden = known < 2; // those of one step stand in the table
    drawProbabilities(this.find("probabilities"), this.point.probabilities, this.colors, this.at);
  }

  showLayers() {
    this.redraws = [];
    const boxes = Object.entries(this.point.layers).map(([name, maps]) => this.layerBox(name, maps));
    this.find("layers").replaceChildren(...boxes);
  }

  layerBox(name, maps) {
    const box = document.createElement("figure");
    box.className = "layer";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    const caption = document.createElement("figcaption");
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    close.setAttribute("aria-label", `Hide ${name}`);
    close.addEventListener("click", () => {
      this.find("add-layer").focus(); // the button goes
      this.on.layered(this.shown.filter((other) => other !== name));
    });
    const images = { ...maps, bytes: bytesOf(maps.data) };
    this.redraws.push(() => {
      const entry = maps.steps ? entryAt(maps.steps, this.at) : Math.min(this.at, maps.norms.length - 1);
      const step = maps.steps ? maps.steps[entry] : entry;
      drawMaps(canvas, images, entry);
      canvas.setAttribute("aria-label", `States of ${name} in step ${step + 1}`);
      const part = maps.channels < maps.of ? `the first ${maps.channels} of ${maps.of} channels` : `${maps.of} channels`;
      caption.textContent = `${name} in step ${step + 1}: ${part}, shown from ${maps.low} to ${maps.high}; norm ${maps.norms[entry] ?? "not finite"}`;
    });
    box.append(canvas, close, caption);
    return box;
  }

  toggle() {
    if (this.timer) this.stop();
    else this.play();
  }

  play() {
    if (!this.point) return;
    if (this.at >= this.states.count - 1) this.goTo(0);
    this.find("play").textContent = "Pause";
    this.find("play").setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => {
      this.goTo(this.at + 1);
      if (this.at >= this.states.count - 1) this.stop();
    }, FRAME);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.find("play").textContent = "Play";
    this.find("play").setAttribute("aria-pressed", "false");
  }
}

function label(content) {
  const item = document.createElement("b");
  item.textContent = content;
  return item;
}

function scaleOf({ scale }) {
  return scale > 1 ? `, means of ${scale} × ${scale} pixels` : "";
}

function factsOf({ at, confidence, precision }) {
  const sure = confidence === null ? "" : ` · confidence ${confidence.toFixed(3)}`;
  return `(u, v) = (${at.replace(",", ", ")})${sure} · computed in ${precision}`;
}

/** The channels of a layer side by side, eight in a row. */
function drawMaps(canvas, images, entry) {
  const { channels, height, width } = images;
  const columns = Math.min(channels, 8);
  const rows = Math.ceil(channels / columns);
  canvas.width = columns * (width + 1) - 1;
  canvas.height = rows * (height + 1) - 1;
  const context = canvas.getContext("2d");
  for (let channel = 0; channel < channels; channel += 1) {
    const [x, y] = [(channel % columns) * (width + 1), Math.floor(channel / columns) * (height + 1)];
    putImage(context, images, entry * channels + channel, x, y);
  }
}

/** The probability of each class over the steps, as stacked columns; the present step has a mark. */
function drawProbabilities(canvas, steps, colors, at) {
  const width = 10;
  const height = 60;
  canvas.width = Math.max(steps.length, 1) * width;
  canvas.height = height + 3;
  const context = canvas.getContext("2d");
  steps.forEach((values, step) => {
    let top = 0;
    values.forEach((value, digit) => {
      context.fillStyle = colors[digit];
      context.fillRect(step * width, top * height, width - 1, value * height + 1);
      top += value;
    });
    if (step === at) {
      context.fillStyle = "#888";
      context.fillRect(step * width, height, width - 1, 3);
    }
  });
}
