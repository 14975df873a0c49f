// The explorer's page: it keeps the view, the address and the panels in agreement.

import { ask, exported, post } from "./api.js";
import { Bookmarks } from "./bookmarks.js";
import { showCell } from "./cell_panel.js";
import { ONE, positionOf } from "./exact.js";
import { growthText } from "./growth.js";
import { find, offerLink, say, sayFailure } from "./messages.js";
import { showLegend } from "./palette.js";
import { PlaneMap } from "./plane_map.js";
import { PairPanel } from "./pair_panel.js";
import { PointPanel } from "./point_panel.js";
import { ImageSettings, contentOf, redrawn } from "./own_noises.js";
import { distanceText, rulerOf } from "./ruler.js";
import { saveMenu } from "./save_menu.js";
import { Settings, summaryOf } from "./settings.js";
import { cursorText, levelText } from "./status_line.js";
import { TileStore } from "./tile_store.js";
import { addressOf, cellKey, cellOfKey, hasScene, sceneOf, startOf, viewOf } from "./view_state.js";

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
  onWork: (left, error) => {
    find("work").textContent = left ? `computing ${left} tiles` : "";
    find("failure").hidden = left > 0 || !error;
    find("failure").querySelector("span").textContent = `a tile failed: ${error}`;
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
const settings = new Settings(find("settings"), find("open-settings"), show);
const image = new ImageSettings(find("settings"), dropped, show);

/** Show the whole plane of a scene. */
function show(fields) {
  location.hash = startOf(fields, view);
}

/** Show what a file holds: a view, bookmarks, or an image. */
async function dropped(file) {
  try {
    const content = await contentOf(file, scene, facts?.shape);
    say("");
    if (content.scene) show(content.scene);
    else if (content.address) location.hash = content.address;
    else takeBookmarks(content.bookmarks);
  } catch (error) {
    say(error.message);
  }
}

function takeBookmarks(found) {
  bookmarks.take(found);
  if (found.length === 1) location.hash = found[0].address;
  else bookmarks.open();
}

/** Show what the address names. */
async function open() {
  try {
    const address = hasScene(location.hash) ? location.hash : (await ask("start")).address;
    const wanted = sceneOf(address);
    if (!scene || JSON.stringify(wanted) !== JSON.stringify(scene)) {
      document.body.dataset.state = "opening";
      facts = await ask("scene", wanted);
      scene = facts.scene;
      store.enter(scene);
      panel.offer(facts.layers);
      settings.fill(scene, facts);
      if (facts.shape) image.fill(scene, facts);
      document.body.classList.toggle("map-file", Boolean(facts.map));
      find("scene-summary").textContent = summaryOf(scene, facts);
      find("scene-summary").title = summaryOf(scene, facts);
    }
    view = viewOf(address, facts);
    store.forgetFailures();
    find("layer").querySelector("[value=growth]").hidden = facts.growth === false;
    find("layer").value = view.layer;
    find("opacity").value = String(view.opacity);
    plane.enter(facts, view, { layer: view.layer, colors: facts.colors, opacity: view.opacity, unstored: facts.unstored });
    showLegend(find("legend"), view.layer, facts);
    plane.dot((facts.points ?? []).map(cellOfKey));
    plane.name((facts.named ?? []).map(([name, at]) => [name, at.split(",").map((text) => positionOf(text, facts.length))]));
    say("");
    document.body.dataset.state = "open";
    await showPoint();
  } catch (error) {
    document.body.dataset.state = "failed";
    sayFailure(error, open);
  }
}

/** Bring the address up to date. @returns whether it changed */
function writeAddress() {
  const address = addressOf(scene, view, facts.length);
  const changed = address !== location.hash;
  if (changed) history.replaceState(null, "", address);
  return changed;
}

function moved() {
  if (!view) return;
  view.level = plane.level;
  view.center = plane.center;
  // A map that only changes its size, as by an error line, asks for no failed tile: that could go on forever.
  if (writeAddress()) store.forgetFailures();
  const { length, pixels } = rulerOf(view.level, facts.length);
  find("ruler-bar").style.width = `${pixels}px`;
  find("ruler-text").textContent = distanceText(length);
  find("level").textContent = levelText(view.level, facts);
  document.body.dataset.floor = String(view.level >= facts.deepest);
  clearTimeout(settling);
  settling = setTimeout(wantTiles, SETTLE);
}

function wantTiles() {
  store.want(plane.visible(), plane.kind);
}

function pointed(position) {
  find("cursor").textContent = position && facts ? cursorText(position, plane.cellAt(position), store, facts) : "";
}

function chosen(position, event) {
  const cell = plane.cellAt(position);
  if (event?.shiftKey && view.points[0] && !facts.map) view.points = [view.points[0], cell];
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
  let shown = false;
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
    if (facts.map) showCell(find("panel"), point);
    else panel.show(point, { colors: facts.colors, shown: view.shown, step: view.step });
    shown = true;
    say("");
    if (!other || exported || facts.map) return;
    const both = { ...scene, a: cellKey(cell), b: cellKey(other), layers: view.shown.join(",") };
    const answer = await ask("pair", both, request.signal);
    if (asking === request) pair.show(answer, facts);
  } catch (error) {
    if (asking !== request) return;
    if (!shown) panel.hide(); // it shows another point
    sayFailure(error, showPoint);
  } finally {
    if (asking === request) find("panel").removeAttribute("aria-busy");
  }
}

find("layer").addEventListener("change", (event) => {
  view.layer = event.target.value;
  plane.restyle({ layer: view.layer });
  showLegend(find("legend"), view.layer, facts);
  moved();
});
find("opacity").addEventListener("input", (event) => {
  view.opacity = Number(event.target.value);
  plane.restyle({ opacity: view.opacity });
  writeAddress();
});
find("failure").querySelector("button").addEventListener("click", () => {
  find("map").focus(); // the button goes
  store.forgetFailures();
  wantTiles();
});
find("home").addEventListener("click", () => plane.show([ONE / 2n, ONE / 2n], 2));
offerLink(writeAddress);
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
const present = () => ({ address: addressOf(scene, view, facts.length), facts, view, summary: find("scene-summary").textContent });
saveMenu(find("save"), plane, store, present);
const bookmarks = new Bookmarks(find("bookmarks"), find("open-bookmarks"), () => ({ ...present(), ...plane.tilesInView(), name: `${scene.model ?? scene.map}, level ${view.level}` }));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dropped(event.dataTransfer.files[0]);
});
find("new-noise").addEventListener("click", () => scene && show(redrawn(scene)));
document.body.classList.toggle("exported", Boolean(exported));
window.addEventListener("hashchange", open);
open();
