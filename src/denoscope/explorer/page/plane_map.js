// The map: Leaflet over one anchor tile at a time, so that its numbers stay small at every level.

import * as L from "./vendor/leaflet/leaflet.js";
import { BITS, ONE, fromFraction, toFraction } from "./exact.js";
import { LAYERS, cellAt, middleOf } from "./view_state.js";
import { GROWTH } from "./growth.js";
import { CELLS, LABELS, TILE, drawTile } from "./tile_store.js";
import { tableOf } from "./palette.js";

const DEEPEST_IN_ANCHOR = 20;
const EXACTLY = { animate: false, reset: true }; // without `reset` Leaflet moves by whole pixels
const RISE = 8; // levels between a new anchor and the view
const TILE_CRS = L.Util.extend({}, L.CRS.Simple, { transformation: new L.Transformation(TILE, 0, -TILE, 0) });

const PlaneLayer = L.GridLayer.extend({
  options: { tileSize: TILE, keepBuffer: 1, updateWhenIdle: false, updateWhenZooming: false, noWrap: true },

  createTile(coords) {
    const canvas = document.createElement("canvas");
    canvas.width = CELLS;
    canvas.height = CELLS;
    canvas.className = "plane-tile";
    const address = this.owner.address(coords);
    if (address) {
      canvas.dataset.tile = address.key;
      this.owner.draw(canvas, address);
    }
    return canvas;
  },
});

export class PlaneMap {
  /** @param store the tiles; @param on {moved, resized, chosen, pointed}: what to call */
  constructor(element, store, on) {
    this.store = store;
    this.on = on;
    this.anchor = { level: 0, x: 0n, y: 0n };
    this.markers = [];
    this.style = null; // {layer, colors, opacity, unstored}
    this.table = null; // the colour of each byte of the layer
    this.resizing = false;
    this.pointer = null; // where it is in the map, in pixels
    this.map = L.map(element, {
      crs: TILE_CRS, attributionControl: false, zoomControl: true, minZoom: 0, maxBoundsViscosity: 1, fadeAnimation: false,
      trackResize: false, keyboardPanDelta: 120, wheelDebounceTime: 60, wheelPxPerZoomLevel: 100,
      inertia: false, // a map that glides on asks for tiles that nobody looks at
    });
    this.grid = new PlaneLayer();
    this.grid.owner = this;
    this.map.on("click", (event) => on.chosen(this.position(event.latlng), event.originalEvent));
    this.map.on("mousemove mouseup", (event) => this.point(event.containerPoint));
    this.map.on("mouseout", () => this.point(null));
    this.map.on("moveend", () => this.settled());
    new ResizeObserver(() => requestAnimationFrame(() => this.resized())).observe(element);
  }

  /** Show a scene of a side and a depth.
   *  @param held the part of the plane of which a page without a server has the tiles: its corners, and the middle of its view */
  enter({ deepest }, view, style, held = null) {
    this.deepest = deepest;
    this.held = held;
    this.dress(style);
    this.grid.remove();
    this.show(view.center, view.level);
    this.grid.addTo(this.map);
    this.grid.setOpacity(style.opacity);
  }

  get level() {
    return this.anchor.level + this.map.getZoom();
  }

  /** The last level at which the whole plane fits into the map; 0 if it never does. */
  get levelOfAll() {
    const { clientWidth, clientHeight } = this.map.getContainer();
    return Math.min(Math.max(Math.floor(Math.log2(Math.min(clientWidth, clientHeight) / TILE)), 0), this.deepest);
  }

  get center() {
    return this.position(this.map.getCenter());
  }

  /** The place under the pointer; null while it is elsewhere. */
  get place() {
    return this.pointer && this.position(this.map.containerPointToLatLng(this.pointer));
  }

  point(pointer) {
    this.pointer = pointer;
    this.on.pointed(this.place);
  }

  /** Move to a position [u, v] and a level, choosing the anchor for them. */
  show(position, level) {
    const anchored = level > DEEPEST_IN_ANCHOR ? level - RISE : 0;
    const shift = BITS - BigInt(anchored);
    const last = (1n << BigInt(anchored)) - 1n;
    const [x, y] = position.map((value) => clamp(value >> shift, 0n, last));
    this.anchor = { level: anchored, x, y };
    this.measure();
    this.map.setMaxZoom(this.deepest - anchored);
    this.map.setMinZoom(anchored ? RISE - 6 : 0);
    this.bound(level - anchored);
    this.map.setView(this.latLng(position), level - anchored, EXACTLY);
    this.grid.redraw();
    this.placeMarkers();
  }

  /** Keep the middle of the view where it is while the page around the map changes. */
  resized() {
    if (this.deepest === undefined) return; // nothing is shown yet
    const center = this.map.getCenter();
    this.measure();
    this.bound(this.map.getZoom());
    this.resizing = true;
    this.map.setView(center, this.map.getZoom(), EXACTLY);
    this.resizing = false;
    this.on.resized();
  }

  /** Let Leaflet read the size of the map, which can have changed since the last frame. */
  measure() {
    this.resizing = true; // Leaflet calls it a move
    this.map.invalidateSize({ pan: false });
    this.resizing = false;
  }

  settled() {
    if (this.resizing) return;
    const zoom = this.map.getZoom();
    this.bound(zoom);
    const [low, high] = this.middles;
    const center = this.latLng(this.center.map((value, k) => clamp(value, low[k], high[k])));
    if (!center.equals(this.map.getCenter())) { // zooming around a place outside of the plane leads out of it
      this.map.setView(center, zoom, EXACTLY);
      return;
    }
    const far = this.anchor.level && (zoom < RISE - 4 || this.outside());
    if (zoom > DEEPEST_IN_ANCHOR || far) {
      this.show(this.center, this.level);
      return;
    }
    this.on.moved();
  }

  /** Keep the middle of the view where it may lie. Leaflet bounds what a view shows: half a view more on each side. */
  bound(zoom) {
    const { x, y } = this.map.getSize().divideBy(2 * TILE * 2 ** zoom);
    this.middles = this.middlesOf(zoom);
    const [low, high] = this.middles.map((position) => this.latLng(position));
    L.Util.setOptions(this.map, { maxBounds: L.latLngBounds([low.lat - y, low.lng - x], [high.lat + y, high.lng + x]) });
  }

  /** The corners of the part of the plane in which the middle of the view may lie: the plane, or where the view shows only
   *  tiles that the page holds. The middle of the view that was saved is always allowed. */
  middlesOf(zoom) {
    if (!this.held) return [[0n, 0n], [ONE, ONE]];
    const { from, to, start } = this.held;
    const { x, y } = this.map.getSize().divideBy(2 * TILE);
    const half = [x, y].map((tiles) => fromFraction(tiles, BITS - BigInt(this.anchor.level + zoom)));
    return [
      from.map((end, k) => (end ? clamp(end + half[k], 0n, start[k]) : 0n)),
      to.map((end, k) => (end < ONE ? clamp(end - half[k], start[k], ONE) : ONE)),
    ];
  }

  /** Whether the view is so far from the anchor tile that its coordinates lose digits. */
  outside() {
    const { lat, lng } = this.map.getCenter();
    return Math.max(Math.abs(lat), Math.abs(lng)) > 2 ** 8;
  }

  latLng(position) {
    const shift = BITS - BigInt(this.anchor.level);
    const [lng, lat] = [this.anchor.x, this.anchor.y].map((index, k) => toFraction(position[k] - (index << shift), shift));
    return L.latLng(lat, lng);
  }

  /** The position [u, v] of a place of the map, within the plane. */
  position(latlng) {
    const shift = BITS - BigInt(this.anchor.level);
    return [[this.anchor.x, latlng.lng], [this.anchor.y, latlng.lat]].map(([index, fraction]) =>
      clamp((index << shift) + fromFraction(fraction, shift), 0n, ONE - 1n),
    );
  }

  /** The tile at Leaflet's coordinates; null outside of the plane. */
  address({ x, y, z }) {
    const level = this.anchor.level + z;
    const parts = 1n << BigInt(level);
    const column = (this.anchor.x << BigInt(z)) + BigInt(x);
    const row = (this.anchor.y << BigInt(z)) + BigInt(-1 - y);
    if (column < 0n || row < 0n || column >= parts || row >= parts) return null;
    return { level, x: column, y: row, key: `${level}/${column}/${row}` };
  }

  /** The keys of the tiles in view, those in the middle first. */
  visible() {
    const zoom = this.map.getZoom();
    const bounds = this.map.getPixelBounds();
    const [left, top] = [bounds.min.x, bounds.min.y].map((value) => Math.floor(value / TILE));
    const [right, bottom] = [bounds.max.x, bounds.max.y].map((value) => Math.ceil(value / TILE) - 1);
    const middle = bounds.getCenter().divideBy(TILE);
    const found = [];
    for (let x = left; x <= right; x += 1) {
      for (let y = top; y <= bottom; y += 1) {
        const address = this.address({ x, y, z: zoom });
        if (address) found.push({ key: address.key, far: Math.hypot(x + 0.5 - middle.x, y + 0.5 - middle.y) });
      }
    }
    return found.sort((a, b) => a.far - b.far).map(({ key }) => key);
  }

  draw(canvas, { level, x, y, key }) {
    const { absent } = this.store.get(key, this.kind) ?? {};
    const tile = absent ? null : this.store.find(level, x, y, this.kind);
    const error = this.store.error(key, this.kind);
    canvas.classList.toggle("failed", Boolean(error));
    canvas.title = error ?? (absent ? "not exported" : "");
    canvas.dataset.finished = String(Boolean(tile?.finished));
    canvas.dataset.own = String(Boolean(this.store.get(key)?.data)); // not a part of the tile above
    const plane = this.kind === GROWTH ? 0 : LAYERS.indexOf(this.style.layer);
    if (tile) drawTile(canvas, tile.data, plane, this.table);
    else canvas.width = CELLS; // a part of the tile above may be drawn there
  }

  /** The kind of the tiles that the layer shows. */
  get kind() {
    return this.style.layer === GROWTH ? GROWTH : LABELS;
  }

  dress(style) {
    this.style = style;
    this.table = tableOf(style.layer, style.colors, style.unstored);
  }

  /** Draw the canvases of one tile again, or all of them. */
  refresh(key = null) {
    for (const canvas of this.map.getPane("tilePane").querySelectorAll("canvas[data-tile]")) {
      if (key && canvas.dataset.tile !== key && !below(canvas.dataset.tile, key)) continue;
      const [level, x, y] = canvas.dataset.tile.split("/");
      this.draw(canvas, { level: Number(level), x: BigInt(x), y: BigInt(y), key: canvas.dataset.tile });
    }
  }

  /** The canvases of the tiles in view with their boxes, and the box of the map. */
  tilesInView() {
    const canvases = [...this.map.getPane("tilePane").querySelectorAll("canvas[data-tile]")];
    const tiles = canvases.map((canvas) => ({ canvas, box: canvas.getBoundingClientRect() }));
    return { tiles, area: this.map.getContainer().getBoundingClientRect() };
  }

  restyle(style) {
    this.dress({ ...this.style, ...style });
    this.grid.setOpacity(this.style.opacity);
    this.refresh();
  }

  /** Mark the chosen cells. */
  mark(cells) {
    this.cells = cells;
    this.placeMarkers();
  }

  /** Mark the points that can be clicked, where only some can. */
  dot(cells) {
    this.dots = cells;
    this.placeMarkers();
  }

  /** Mark noises that have a name: pairs of a name and a position. */
  name(places) {
    this.named = places;
    this.placeMarkers();
  }

  placeMarkers() {
    for (const marker of this.markers) marker.remove();
    this.markers = (this.cells ?? []).flatMap((cell, k) => {
      if (!cell) return [];
      const icon = L.divIcon({ className: `pin pin-${"ab"[k]}`, html: "AB"[k], iconSize: [22, 22] });
      const marker = L.marker(this.latLng(middleOf(cell)), { icon, keyboard: false, interactive: false });
      return [marker.addTo(this.map)];
    });
    for (const [name, position] of this.named ?? []) {
      const text = Object.assign(document.createElement("span"), { textContent: name });
      const icon = L.divIcon({ className: "named", html: text, iconSize: [60, 22] });
      this.markers.push(L.marker(this.latLng(position), { icon, keyboard: false, interactive: false }).addTo(this.map));
    }
    for (const cell of this.dots ?? []) {
      const place = this.latLng(middleOf(cell));
      this.markers.push(L.circleMarker(place, { radius: 3, className: "dot", interactive: false }).addTo(this.map));
    }
    if (this.cells?.[0] && this.cells[1]) {
      const ends = this.cells.map((cell) => this.latLng(middleOf(cell)));
      this.markers.push(L.polyline(ends, { className: "line", weight: 2, interactive: false }).addTo(this.map));
    }
  }

  cellAt(position) {
    return cellAt(position, this.level);
  }
}

function below(key, above) {
  return Number(key.split("/", 1)[0]) > Number(above.split("/", 1)[0]);
}

function clamp(value, least, most) {
  return value < least ? least : value > most ? most : value;
}
