// The explorer's page: it keeps the view, the address and the panels in agreement.

import { ask, exported } from "./api.js";
import { Bookmarks } from "./bookmarks.js";
import { disclosure } from "./disclosure.js";
import { showCell } from "./cell_panel.js";
import { ONE, positionOf } from "./exact.js";
import { growthText } from "./growth.js";
import { KnownCells } from "./known_cells.js";
import { find, offerLink, say, sayFailure } from "./messages.js";
import { showLegend } from "./palette.js";
import { PlaneMap } from "./plane_map.js";
import { paced } from "./pace.js";
import { PairPanel } from "./pair_panel.js";
import { PointPanel } from "./point_panel.js";
import { ImageSettings, contentOf, redrawn } from "./own_noises.js";
import { RecordButton } from "./record_button.js";
import { distanceText, rulerOf } from "./ruler.js";
import { saveMenu } from "./save_menu.js";
import { Settings, summaryOf } from "./settings.js";
import { cursorText, levelText, precisionOf, showWork } from "./status_line.js";
import { LABELS, TileStore } from "./tile_store.js";
import { addressIn, addressOf, cellKey, cellOfKey, hasScene, heldBy, misreadText, sceneOf, startOf, viewOf } from "./view_state.js";

const SETTLE = 60; // milliseconds after the last movement until tiles are asked for
const REST = 250; // milliseconds between addresses while a slider moves; browsers limit how many there are

let scene = null; // texts by field
let facts = null; // what the server says about the scene
let view = null;
let opening = null; // the request of a scene
let asking = null; // the request of a point
let comparing = false; // whether the next point is the second one
let settling = 0;
let drops = 0;

const store = new TileStore({
  onTile: (key) => {
    if (store.kind === LABELS) known.arrived(key);
    plane.refresh(key);
    showGrowth();
    showCorrection();
    showPlace();
  },
  onWork: (left, error) => {
    showWork(left, error);
    document.body.dataset.work = String(left);
  },
});
const known = new KnownCells(store);
const plane = new PlaneMap(find("map"), store, { moved, resized: wantSoon, chosen, pointed });
const panel = new PointPanel(find("panel"), {
  stepped: (step) => {
    view.step = step;
    writeAddressOften();
  },
  layered: (shown) => {
    view.shown = shown;
    writeAddress();
    showPoint();
  },
});
const record = new RecordButton(find("record"), find("recorded"), () => ({ scene, cell: view.points[0], layers: view.shown }));
const pair = new PairPanel(find("pair"));
const settings = new Settings(find("settings"), find("open-settings"), show);
const image = new ImageSettings(find("settings"), dropped, show);

const writeAddressOften = paced(writeAddress, REST);

/** Open another address. Until it is open, nothing else may write to it. */
function go(address) {
  const before = location.href;
  location.hash = address;
  if (location.href === before) return; // it is open, and the browser says nothing
  opening?.abort();
  opening = new AbortController();
}

/** Show the whole plane of a scene. */
function show(fields) {
  go(startOf(fields, view));
}

/** Show what a file holds: a view, bookmarks, or an image. */
async function dropped(file) {
  drops += 1;
  const drop = drops;
  try {
    const content = await contentOf(file, scene, facts?.shape);
    if (drop !== drops) return; // another file was dropped since
    say("");
    if (content.scene) show(content.scene);
    else if (content.address) go(content.address);
    else takeBookmarks(content.bookmarks);
  } catch (error) {
    say(error.message);
  }
}

function takeBookmarks(found) {
  bookmarks.take(found);
  if (found.length === 1) go(found[0].address);
  else bookmarks.open();
}

/** Show what the address names. */
async function open() {
  for (const before of [opening, asking]) before?.abort(); // their answers are of another address
  const request = new AbortController();
  opening = request;
  const { hash } = location;
  try {
    const address = hasScene(location.hash) ? location.hash : (await ask("start", {}, request.signal)).address;
    const wanted = sceneOf(address);
    if (!scene || JSON.stringify(wanted) !== JSON.stringify(scene)) {
      document.body.dataset.state = "opening";
      const found = await ask("scene", wanted, request.signal);
      if (opening !== request || location.hash !== hash) return; // another address was opened since
      facts = found;
      scene = facts.scene;
      store.enter(scene);
      known.enter(facts);
      panel.offer(facts.layers);
      settings.fill(scene, facts);
      if (facts.shape) image.fill(scene, facts);
      document.body.classList.toggle("map-file", Boolean(facts.map));
      find("scene-summary").textContent = summaryOf(scene, facts);
      find("scene-summary").title = summaryOf(scene, facts);
    }
    opening = null;
    panel.stop();
    view = viewOf(address, facts);
    find("tools").inert = false;
    document.title = `${scene.model ?? scene.map} – denoscope explorer`;
    find("layer").querySelector("[value=growth]").hidden = facts.growth === false;
    find("layer").value = view.layer;
    find("opacity").value = String(view.opacity);
    plane.enter(facts, view, { layer: view.layer, colors: facts.colors, opacity: view.opacity, unstored: facts.unstored }, exported && heldBy(exported));
    showLegend(find("legend"), view.layer, facts);
    plane.dot((facts.points ?? []).map(cellOfKey));
    plane.name((facts.named ?? []).map(([name, at]) => [name, at.split(",").map((text) => positionOf(text, facts.length))]));
    say(misreadText(view.misread));
    document.body.dataset.state = "open";
    await showPoint(view.misread);
  } catch (error) {
    if (opening !== request) return;
    opening = null;
    document.body.dataset.state = "failed";
    sayFailure(error, () => (location.hash === hash ? open() : go(hash)));
  }
}

/** Bring the address up to date, unless it names a view that is being opened. */
function writeAddress() {
  if (opening) return;
  const address = addressOf(scene, view, facts.length);
  if (address !== location.hash) history.replaceState(null, "", address);
}

function moved() {
  if (!view) return;
  view.level = plane.level;
  view.center = plane.center;
  writeAddress();
  store.forgetFailures();
  const { length, pixels } = rulerOf(view.level, facts.length);
  find("ruler-bar").style.width = `${pixels}px`;
  find("ruler-text").textContent = distanceText(length);
  find("level").textContent = levelText(view.level, facts);
  document.body.dataset.floor = String(view.level >= facts.deepest);
  showPlace();
  wantSoon();
}

/** Ask for the tiles in view. Where the map changes its size alone, failed ones are left out: an error line changes it. */
function wantSoon() {
  clearTimeout(settling);
  settling = setTimeout(wantTiles, SETTLE);
}

function wantTiles() {
  store.want(plane.visible(), plane.kind);
}

function pointed(position) {
  find("cursor").textContent = position && facts ? cursorText(position, plane.cellAt(position), store, facts) : "";
}

/** Say again what is known about the place under the pointer, or in the middle for those who move the map by keys. */
function showPlace() {
  const place = view && (find("map").classList.contains("by-key") ? plane.center : plane.place);
  if (place) pointed(place);
}

/** Let screen readers say what the panel says about a point, or about two. */
function announce(...names) {
  find("announcement").textContent = names.map((name) => find(name).textContent).filter(Boolean).join(". ");
}

function chosen(position, event) {
  const cell = plane.cellAt(position);
  if ((event?.shiftKey || comparing) && view.points[0] && !facts.map && !exported) view.points = [view.points[0], cell];
  else view.points = [cell, null];
  view.step = null;
  compare(false);
  writeAddress();
  showPoint();
}

function compare(on) {
  comparing = on;
  find("compare").setAttribute("aria-pressed", String(on));
  find("compare").textContent = on ? "Now click the second point" : "Compare with …";
  if (on) find("map").scrollIntoView({ block: "nearest" }); // it lies above the panel on narrow pages
}

function byKey() {
  find("map").classList.add("by-key");
  showPlace();
}

function showGrowth() {
  const [cell] = view?.points ?? [];
  find("point-growth").textContent = cell ? growthText(store, cell) : "";
}

/** Take the label of a point, and show it in the tiles that had another one. */
function correct(cell, answer) {
  for (const key of known.add(cell, answer)) plane.refresh(key);
  showCorrection();
}

function showCorrection() {
  if (!view || facts.map) return;
  const texts = view.points.map((cell) => (cell ? known.text(cell) : ""));
  find("how-known").textContent = texts.map((text, k) => (text && k ? `B: ${text}` : text)).filter(Boolean).join(" ");
}

/** @param misread what the address of the point holds beside what is shown */
async function showPoint(misread = []) {
  plane.mark(view.points);
  showGrowth();
  asking?.abort();
  pair.hide();
  record.clear();
  announce();
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
    else {
      panel.show(point, { colors: facts.colors, shown: view.shown, step: view.step, noisedImage: facts.noised_image });
      correct(view.points[0], point);
      if (view.step >= point.states.count) {
        misread.push(["step", String(view.step), "the last step"]);
        view.step = null;
        writeAddress();
      }
    }
    shown = true;
    announce("point-title", "point-facts", "how-known");
    say(misreadText(misread));
    if (!other || facts.map) return;
    const both = { ...scene, a: cellKey(cell), b: cellKey(other), layers: view.shown.join(",") };
    const answer = await ask("pair", both, request.signal);
    if (asking !== request) return;
    if (!answer) { // a page without a server holds that of two points alone
      view.points = [view.points[0], null];
      plane.mark(view.points);
      writeAddress();
      return;
    }
    pair.show(answer, facts);
    announce("pair-facts");
    correct(other, { label: answer.path.at(-1), precision: precisionOf(other.level, facts) });
  } catch (error) {
    if (asking !== request) return;
    if (!shown) panel.hide(); // it shows another point
    sayFailure(error, () => showPoint());
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
  writeAddressOften();
});
find("failure").querySelector("button").addEventListener("click", () => {
  find("map").focus(); // the button goes
  store.forgetFailures();
  wantTiles();
});
find("home").addEventListener("click", () => plane.show([ONE / 2n, ONE / 2n], plane.levelOfAll));
offerLink(writeAddress);
find("map").addEventListener("focus", () => {
  if (find("map").matches(":focus-visible")) byKey();
});
for (const name of ["pointerdown", "mousedown"]) { // at the second one Leaflet has just focused the map
  find("map").addEventListener(name, () => find("map").classList.remove("by-key"));
}
find("map").addEventListener("keydown", (event) => {
  if (!view || event.target !== find("map") || event.ctrlKey || event.metaKey || event.altKey) return;
  byKey();
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
find("compare").addEventListener("click", () => compare(!comparing));
const present = () => ({ address: addressOf(scene, view, facts.length), facts, view, summary: find("scene-summary").textContent });
saveMenu(find("save"), plane, store, present);
const bookmarks = new Bookmarks(find("bookmarks"), find("open-bookmarks"), () => ({ ...present(), ...plane.tilesInView(), name: `${scene.model ?? scene.map}, level ${view.level}` }));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  dropped(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const address = addressIn(event.clipboardData.getData("text"));
  if (!address || event.target.matches?.("input, textarea")) return;
  event.preventDefault();
  go(address);
});
disclosure(find("help"), find("open-help"), () => find("help").focus());
find("new-noise").addEventListener("click", () => scene && show(redrawn(scene)));
document.body.classList.toggle("exported", Boolean(exported));
if (exported) find("map").ariaLabel = find("map").ariaLabel.replace(", Shift and Enter picks a second one", "");
window.addEventListener("hashchange", open);
open();
