// The view as an SVG poster: the map at the resolution of its cells, and everything else as text and lines.

import { BITS, coordinateText, decimalsOf, fromFraction } from "./exact.js";
import { GREY, NO_CLASS, scaleOf, tableOf } from "./palette.js";
import { distanceText, rulerOf } from "./ruler.js";
import { CELLS, TILE } from "./tile_store.js";

const LEFT = 40;
const TOP = 14;
const LINE = 14;
const LETTER = 6.1; // pixels of a letter of the address

/** The poster as bytes.
 *  @param tiles canvases with their boxes on the page; @param area the box of the map */
export function svgOf({ address, facts, view, summary }, tiles, area) {
  const { width, height } = area;
  const right = LEFT + width;
  const bottom = TOP + height;
  const caption = [summary, `level ${view.level} · coloured by ${view.layer}`, ...wrapped(address, Math.floor(width / LETTER))];
  const parts = [
    `<desc>${escaped(address)}</desc>`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<clipPath id="area"><rect x="${LEFT}" y="${TOP}" width="${width}" height="${height}"/></clipPath>`,
    `<g clip-path="url(#area)" opacity="${view.opacity}">${image(tiles, area)}</g>`,
    `<rect x="${LEFT}" y="${TOP}" width="${width}" height="${height}" fill="none" stroke="#1c1c1c"/>`,
    ...axes(facts, view, area),
    ...ruler(facts, view, right, bottom + 46),
    ...legend(view.layer, facts, bottom + 46),
    ...caption.map((line, k) => text(LEFT, bottom + 74 + k * LINE, line, k > 1 ? `font-family="monospace" font-size="10"` : "")),
  ];
  const size = [right + 14, bottom + 74 + caption.length * LINE];
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size[0]} ${size[1]}" width="${size[0]}" height="${size[1]}" font-family="sans-serif" font-size="12" fill="#1c1c1c">`;
  return new TextEncoder().encode(`${head}\n${parts.join("\n")}\n</svg>\n`);
}

/** The tiles in one picture with a pixel for each cell. */
function image(tiles, area) {
  const own = tiles.filter(({ box }) => Math.abs(box.width - TILE) < 1); // others belong to a level that is left
  if (!own.length) return "";
  const left = Math.min(...own.map(({ box }) => box.left));
  const top = Math.min(...own.map(({ box }) => box.top));
  const place = (value, first) => Math.round((value - first) / TILE);
  const columns = Math.max(...own.map(({ box }) => place(box.left, left))) + 1;
  const rows = Math.max(...own.map(({ box }) => place(box.top, top))) + 1;
  const canvas = document.createElement("canvas");
  canvas.width = columns * CELLS;
  canvas.height = rows * CELLS;
  const context = canvas.getContext("2d");
  for (const { canvas: tile, box } of own) {
    context.drawImage(tile, CELLS * place(box.left, left), CELLS * place(box.top, top));
  }
  const [x, y] = [LEFT + left - area.left, TOP + top - area.top];
  return `<image x="${x}" y="${y}" width="${columns * TILE}" height="${rows * TILE}" preserveAspectRatio="none" style="image-rendering: pixelated" href="${canvas.toDataURL("image/png")}"/>`;
}

/** Coordinates at both ends and in the middle of each side. */
function axes(facts, view, { width, height }) {
  const decimals = decimalsOf(view.level, facts.length);
  const at = (k, share, pixels) => {
    const offset = fromFraction((Math.abs(share) * pixels) / TILE, BITS - BigInt(view.level));
    return coordinateText(view.center[k] + (share < 0 ? -offset : offset), facts.length, decimals, view.middle[k]);
  };
  const bottom = TOP + height;
  const found = [
    text(LEFT + width / 2, bottom + 31, "u (L2)", `text-anchor="middle"`),
    turned(12, TOP + height / 2, "v (L2)", "middle"),
  ];
  for (const [share, anchor] of [[-0.5, "start"], [0, "middle"], [0.5, "end"]]) {
    const [x, y] = [LEFT + (share + 0.5) * width, TOP + (0.5 - share) * height];
    found.push(line(x, bottom, x, bottom + 4), line(LEFT - 4, y, LEFT, y));
    found.push(text(x, bottom + 16, at(0, share, width), `text-anchor="${anchor}"`));
    found.push(turned(LEFT - 8, y, at(1, share, height), anchor));
  }
  return found;
}

function ruler(facts, view, right, y) {
  const { length, pixels } = rulerOf(view.level, facts.length);
  const left = right - pixels;
  return [
    `<path d="M${left} ${y - 5}v5h${pixels}v-5" fill="none" stroke="#1c1c1c"/>`,
    text(left - 6, y, `${distanceText(length)} (L2)`, `text-anchor="end"`),
  ];
}

function legend(layer, { colors, unstored = [] }, y) {
  if (layer === "class") {
    return [...colors, `rgb(${NO_CLASS})`].flatMap((color, k) => {
      return swatch(LEFT + 26 * k, y, color, k < colors.length ? k : "no class");
    });
  }
  if (unstored.includes(layer)) return swatch(LEFT, y, `rgb(${GREY})`, `${layer} is not stored`);
  const { name, marks } = scaleOf(layer);
  const table = tableOf("confidence", colors);
  const stops = [0, 51, 102, 153, 204, 255].map((byte) => `<stop offset="${byte / 255}" stop-color="rgb(${table[byte]})"/>`);
  return [
    `<linearGradient id="shades">${stops.join("")}</linearGradient>`,
    `<rect x="${LEFT}" y="${y - 18}" width="120" height="8" fill="url(#shades)"/>`,
    ...marks.map((mark, k) => text(LEFT + (120 * k) / (marks.length - 1), y + 2, mark, `text-anchor="middle"`)),
    text(LEFT + 134, y - 8, name),
  ];
}

function swatch(x, y, color, name) {
  return [`<rect x="${x}" y="${y - 10}" width="10" height="10" fill="${escaped(color)}"/>`, text(x + 13, y, name)];
}

function line(x1, y1, x2, y2) {
  return `<path d="M${x1} ${y1}L${x2} ${y2}" stroke="#1c1c1c"/>`;
}

function text(x, y, content, more = "") {
  return `<text x="${x}" y="${y}" ${more}>${escaped(String(content))}</text>`;
}

function turned(x, y, content, anchor) {
  return text(x, y, content, `text-anchor="${anchor}" transform="rotate(-90 ${x} ${y})"`);
}

function wrapped(content, most) {
  return content.match(new RegExp(`.{1,${Math.max(most, 20)}}`, "g")) ?? [];
}

function escaped(content) {
  return content.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
