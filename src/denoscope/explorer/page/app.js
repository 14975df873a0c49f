// The explorer's page: it keeps the view, the address and the panels in agreement.

import { ask, exported, post } from "./api.js";
import { ONE, coordinateText, decimalsOf } from "./exact.js";
import { growthText } from "./growth.js";
import { showLegend } from "./palette.js";
import { PlaneMap } from "./plane_map.js";
import { PairPanel } from "./pair_panel.js";
import { PointPanel } from "./point_panel.js";
import { download, posterOf, textOf } from "./poster.js";
import { distanceText, rulerLength } from "./ruler.js";
import { Settings } from "./settings.js";
import { LABELS, TileStore, cellBytes } from "./tile_store.js";
import { addressOf, cellKey, cellOfKey, sceneOf, viewOf } from "./view_state.js";

const find = (id) => document.getElementById(id);
const SETTLE = 60; // milliseconds after the last movement until tiles are asked for

let scene = null; // texts by field
let facts = null; // what the server says about the scene
let view = null;
let asking = null; // the request of a point
let settling = 0;

const store = new TileStore({
  onTile: (key) => {
    plane.refresh(key);
    showGrowth();
  },
  onWork: (left) => {
    find("work").textContent = left ? `computing ${left} tiles` : "";
    document.body.dataset.work = String(left);
  },
});
const plane = new PlaneMap(find("map"), store, { moved, chosen, pointed });
const panel = new PointPanel(find("panel"), {
  stepped: (step) => {
    view.step = step;
    writeAddress();
  },
  layered: (shown) => {
    view.shown = shown;
    writeAddress();
    showPoint();
  },
});
const pair = new PairPanel(find("pair"));
const settings = new Settings(find("settings"), find("open-settings"), (fields) => {
  location.hash = new URLSearchParams(fields).toString();
});

function say(message) {
  find("message").textContent = message;
  find("message").hidden = !message;
}

/** Show what the address names. */
async function open() {
  try {
    const address = sceneOf(location.hash).model ? location.hash : (await ask("start")).address;
    const wanted = sceneOf(address);
    if (!scene || JSON.stringify(wanted) !== JSON.stringify(scene)) {
      document.body.dataset.state = "opening";
      facts = await ask("scene", wanted);
      scene = facts.scene;
      store.enter(scene);
      panel.offer(facts.layers);
      settings.fill(scene, facts);
      find("scene-summary").textContent = `${scene.model} · ${facts.scheduler}, ${scene.steps ?? 10} steps · ${scene.geometry ?? "spherical"} plane of side ${facts.length}`;
    }
    view = viewOf(address, facts);
    find("layer").querySelector("[value=growth]").hidden = facts.growth === false;
    find("layer").value = view.layer;
    find("opacity").value = String(view.opacity);
    plane.enter(facts, view, { layer: view.layer, colors: facts.colors, opacity: view.opacity });
    showLegend(find("legend"), view.layer, facts.colors);
    plane.dot((facts.points ?? []).map(cellOfKey));
    say("");
    document.body.dataset.state = "open";
    await showPoint();
  } catch (error) {
    document.body.dataset.state = "failed";
    say(error.message);
  }
}

function writeAddress() {
  const address = addressOf(scene, view, facts.length);
  if (address !== location.hash) history.replaceState(null, "", address);
}

function moved() {
  if (!view) return;
  view.level = plane.level;
  view.center = plane.center;
  writeAddress();
  const perPixel = (Number(facts.length) / 256) * 2 ** -view.level;
  const { length, pixels } = rulerLength(perPixel, 120);
  find("ruler-bar").style.width = `${pixels}px`;
  find("ruler-text").textContent = distanceText(length);
  const precision = view.level <= facts.float32_to ? "float32" : "float64";
  const floor = view.level >= facts.deepest ? " · precision floor reached" : "";
  find("level").textContent = `level ${view.level} · cells ${distanceText(perPixel * 4)} apart · ${precision}${floor}`;
  document.body.dataset.floor = String(Boolean(floor));
  clearTimeout(settling);
  settling = setTimeout(() => store.want(plane.visible(), plane.kind), SETTLE);
}

function pointed(position) {
  if (!position || !facts) {
    find("cursor").textContent = "";
    return;
  }
  const decimals = decimalsOf(plane.level, facts.length);
  const [u, v] = position.map((value) => coordinateText(value, facts.length, decimals));
  const cell = plane.cellAt(position);
  const tile = store.find(cell.level, cell.i >> 6n, cell.j >> 6n, LABELS);
  const [label, confidence] = tile?.finished ? cellBytes(tile.data, cell.i, cell.j) : [];
  const known = label === undefined ? "" : label ? ` · ${label - 1} (${(confidence / 255).toFixed(2)})` : " · no class";
  const growth = growthText(store, cell);
  find("cursor").textContent = `(${u}, ${v})${known}${growth && ` · ${growth}`}`;
}

function chosen(position, event) {
  const cell = plane.cellAt(position);
  if (event?.shiftKey && view.points[0]) view.points = [view.points[0], cell];
  else view.points = [cell, null];
  view.step = null;
  writeAddress();
  showPoint();
}

function showGrowth() {
  const [cell] = view?.points ?? [];
  find("point-growth").textContent = cell ? growthText(store, cell) : "";
}

async function showPoint() {
  plane.mark(view.points);
  showGrowth();
  asking?.abort();
  pair.hide();
  find("recorded").textContent = "";
  const [cell, other] = view.points;
  if (!cell) {
    panel.hide();
    return;
  }
  const request = new AbortController();
  asking = request;
  find("panel").setAttribute("aria-busy", "true");
  try {
    const fields = { ...scene, cell: cellKey(cell), layers: view.shown.join(",") };
    const point = await ask("point", fields, request.signal);
    if (asking !== request) return;
    if (point.cell !== cellKey(cell)) {
      view.points = [cellOfKey(point.cell), null];
      plane.mark(view.points);
      writeAddress();
    }
    panel.show(point, { colors: facts.colors, shown: view.shown, step: view.step });
    say("");
    if (!other || exported) return;
    const both = { ...scene, a: cellKey(cell), b: cellKey(other), layers: view.shown.join(",") };
    const answer = await ask("pair", both, request.signal);
    if (asking === request) pair.show(answer, facts);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (asking === request) find("panel").removeAttribute("aria-busy");
  }
}

find("layer").addEventListener("change", (event) => {
  view.layer = event.target.value;
  plane.restyle({ layer: view.layer });
  showLegend(find("legend"), view.layer, facts.colors);
  moved();
});
find("opacity").addEventListener("input", (event) => {
  view.opacity = Number(event.target.value);
  plane.restyle({ opacity: view.opacity });
  writeAddress();
});
find("home").addEventListener("click", () => plane.show([ONE / 2n, ONE / 2n], 2));
find("copy-link").addEventListener("click", async () => {
  writeAddress();
  try {
    await navigator.clipboard.writeText(location.href);
    find("work").textContent = "link copied";
  } catch {
    say(`Copy the address: ${location.href}`);
  }
});
find("map").addEventListener("pointerdown", () => find("map").classList.remove("by-key"));
find("map").addEventListener("keydown", (event) => {
  find("map").classList.add("by-key");
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    chosen(plane.center, event);
  } else if (event.key === "Home") {
    event.preventDefault();
    find("home").click();
  } else if (event.key === "p") {
    panel.toggle();
  }
});
find("record").addEventListener("click", async () => {
  find("recorded").textContent = "recording …";
  try {
    const content = { scene, cell: cellKey(view.points[0]), layers: view.shown.join(",") };
    const { path, label } = JSON.parse(new TextDecoder().decode(await post("record", content)));
    find("recorded").textContent = `${path} (class ${label})`;
  } catch (error) {
    find("recorded").textContent = "";
    say(error.message);
  }
});
find("save-picture").addEventListener("click", async () => {
  const { tiles, area } = plane.tilesInView();
  download(await posterOf(tiles, area, addressOf(scene, view, facts.length)), "denoscope.png", "image/png");
});
find("save-page").addEventListener("click", async () => {
  find("work").textContent = "writing the page …";
  try {
    download(await post("export", { address: addressOf(scene, view, facts.length) }), "denoscope.html", "text/html");
    find("work").textContent = "page saved";
  } catch (error) {
    find("work").textContent = "";
    say(error.message);
  }
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  const address = file && file.size < 2 ** 26 ? textOf(new Uint8Array(await file.arrayBuffer())) : null;
  if (address) location.hash = address;
  else say("The file holds no view; allowed: a picture that this page has saved.");
});
document.body.classList.toggle("exported", Boolean(exported));
window.addEventListener("hashchange", open);
open();
