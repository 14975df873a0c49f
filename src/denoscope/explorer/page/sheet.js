// The page of a recording: it keeps the grid, the panel and the address in agreement.

import { ask } from "./api.js";
import { LabelFilter, chosenRows } from "./label_filter.js";
import { find, offerLink, say, sayFailure } from "./messages.js";
import { paced } from "./pace.js";
import { PairPanel } from "./pair_panel.js";
import { PointPanel } from "./point_panel.js";
import { addressOf, stateOf } from "./sheet_address.js";
import { SheetGrid, labelText } from "./sheet_grid.js";

const PER_PAGE = 96;
const REST = 250; // milliseconds between addresses while a slider moves; browsers limit how many there are

let facts = null; // what the server says about the recording
let labels = null; // the label of each row, once they are known
let state = null;
let opening = null; // the request of the recording
let knowing = false; // whether the labels are being read
let asking = null; // the requests of the chosen samples
let paging = null; // the request of the present page
let comparing = false; // whether the next sample is the second one

const grid = new SheetGrid(find("grid"), chosen);
const filter = new LabelFilter(find("label"), (label) => turn({ label, page: 1 }));
const pair = new PairPanel(find("pair"));
const panel = new PointPanel(find("panel"), {
  stepped: (step) => {
    state.step = step;
    writeAddressOften();
  },
  layered: (layers) => {
    state.layers = layers;
    writeAddress();
    showSamples();
  },
});

const writeAddressOften = paced(writeAddress, REST);

/** Show what the address names. */
async function open() {
  for (const before of [opening, paging, asking]) before?.abort(); // their answers are of another address
  const request = new AbortController();
  opening = request;
  try {
    facts ??= await ask("sheet", {}, request.signal);
    if (opening !== request) return; // another address was opened since
    const { run, ...wanted } = stateOf(location.hash);
    if (run && run !== facts.run) {
      const message = `this link is of ${run}, and this explorer shows ${facts.run}; start another one with: denoscope explore ${run}`;
      throw Object.assign(new Error(message), { refused: true });
    }
    state = { ...wanted, run: facts.run };
    find("tools").inert = false;
    document.title = `${facts.run} – denoscope recording`;
    describe();
    panel.offer(facts.layers);
    say("");
    if (labels) filter.fill(finished(), labels, state.label);
    else knowLabels();
    await Promise.all([showPage(), showSamples()]);
    if (opening === request) document.body.dataset.state = "open";
  } catch (error) {
    if (opening !== request) return;
    document.body.dataset.state = "failed";
    sayFailure(error, open);
  }
}

function describe() {
  const shape = facts.shape.join(" × ");
  find("summary").textContent = `${facts.run} · ${facts.model} · ${facts.scheduler}, ${facts.steps} steps · ${finished().length} samples ${shape}`;
  find("note").textContent = facts.note;
  find("note").hidden = !facts.note;
  find("recorded-layers").hidden = !facts.layers.length;
}

function finished() {
  return facts.rows ?? Array.from({ length: facts.count }, (_, row) => row);
}

function writeAddress() {
  const address = addressOf(state);
  if (address !== location.hash) history.replaceState(null, "", address);
}

async function knowLabels() {
  if (knowing) return;
  knowing = true;
  find("work").textContent = "reading the labels …";
  try {
    const answer = await ask("labels");
    labels = answer.labels;
    filter.fill(finished(), labels, state.label);
    grid.label(labels, facts.colors);
    find("work").textContent = answer.source ? `labels: ${answer.source}` : "no labels";
    document.body.dataset.labels = answer.source ?? "none";
    if (state.label) await showPage();
  } catch (error) {
    find("work").textContent = "";
    sayFailure(error, knowLabels);
  } finally {
    knowing = false;
  }
}

function turn(to) {
  state = { ...state, ...to };
  writeAddress();
  showPage();
}

/** Show one page of the samples with the chosen label. */
async function showPage() {
  if (state.label && !labels) return; // it follows when the labels are known
  const rows = chosenRows(finished(), labels, state.label);
  const pages = Math.max(Math.ceil(rows.length / PER_PAGE), 1);
  state.page = Math.min(state.page, pages);
  const first = (state.page - 1) * PER_PAGE;
  const shown = rows.slice(first, first + PER_PAGE);
  find("range").textContent = shown.length ? `${first + 1}–${first + shown.length} of ${rows.length}` : "no samples";
  offerPages(pages);
  writeAddress();
  paging?.abort();
  paging = new AbortController();
  const request = paging;
  find("grid").setAttribute("aria-busy", "true");
  try {
    const none = { rows: [], names: {}, images: null, errors: {} };
    const answer = shown.length ? await ask("images", { rows: shown.join(",") }, request.signal) : none;
    if (paging !== request) return;
    grid.show(answer);
    grid.label(labels, facts.colors);
    grid.mark([state.sample, state.other]);
    find("grid").dataset.rows = String(shown.length);
  } catch (error) {
    if (paging === request) sayFailure(error, showPage);
  } finally {
    if (paging === request) find("grid").removeAttribute("aria-busy");
  }
}

/** Let the buttons turn to pages that exist; a button that is switched off gives its focus to the other one. */
function offerPages(pages) {
  const [previous, next] = [find("previous"), find("next")];
  const focused = document.activeElement;
  previous.disabled = state.page <= 1;
  next.disabled = state.page >= pages;
  if (focused === next && next.disabled) previous.focus();
  if (focused === previous && previous.disabled) next.focus();
}

function chosen(name, second) {
  const compared = (second || comparing) && state.sample && state.sample !== name;
  state = compared ? { ...state, other: name } : { ...state, sample: name, other: null };
  compare(false);
  writeAddress();
  showSamples();
}

function compare(on) {
  comparing = on;
  find("compare").setAttribute("aria-pressed", String(on));
  find("compare").textContent = on ? "Now click the second sample" : "Compare with …";
}

/** Show the chosen sample, and the second one beside it. */
async function showSamples() {
  grid.mark([state.sample, state.other]);
  asking?.abort();
  pair.hide();
  if (!state.sample) {
    panel.hide();
    return;
  }
  asking = new AbortController();
  const request = asking;
  let known = false;
  find("panel").setAttribute("aria-busy", "true");
  try {
    const layers = state.layers.join(",");
    const sample = await ask("sample", { sample: state.sample, layers }, request.signal);
    if (asking !== request) return;
    const words = { title: titleOf(sample), facts: factsOf(sample) };
    panel.show({ ...sample, ...words }, { colors: facts.colors, shown: state.layers, step: state.step, noisedImage: facts.noised_image });
    known = true;
    find("classes").hidden = !sample.probabilities.some((values) => values.length);
    say("");
    if (!state.other) return;
    const answer = await ask("samples", { a: state.sample, b: state.other, layers }, request.signal);
    if (asking === request) pair.show(answer, facts);
  } catch (error) {
    if (asking !== request) return;
    if (!known) panel.hide(); // it shows another sample
    sayFailure(error, showSamples);
  } finally {
    if (asking === request) find("panel").removeAttribute("aria-busy");
  }
}

function titleOf({ sample, label }) {
  return label === null ? sample : `${sample}: ${labelText(label, true)}`;
}

function factsOf({ confidence, facts: given, precision }) {
  const sure = confidence === null ? [] : [`confidence ${confidence.toFixed(3)}`];
  const coordinates = Object.entries(given).map(([name, value]) => `${name} ${value}`);
  return [...sure, ...coordinates, precision].join(" · ");
}

find("previous").addEventListener("click", () => turn({ page: state.page - 1 }));
find("next").addEventListener("click", () => turn({ page: state.page + 1 }));
find("compare").addEventListener("click", () => compare(!comparing));
find("grid").addEventListener("keydown", (event) => {
  if (event.key === "p" && !event.ctrlKey && !event.metaKey && !event.altKey) panel.toggle();
  if (event.key === "Enter" && event.shiftKey) {
    event.preventDefault();
    chosen(event.target.dataset.name, true);
  }
});
offerLink(writeAddress);
window.addEventListener("hashchange", open);
open();
