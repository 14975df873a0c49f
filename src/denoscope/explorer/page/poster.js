// Pictures of the view that carry its address, and reading it back.

const KEYWORD = "denoscope";
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/** The visible tiles in one picture, as PNG with the address of the view.
 *  @param tiles canvases with their boxes on the page; @param area the box of the map */
export async function posterOf(tiles, area, address, scale = 2) {
  const canvas = drawn(tiles, area, scale, Math.round(area.width * scale), Math.round(area.height * scale));
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return withText(new Uint8Array(await blob.arrayBuffer()), address);
}

/** The middle of the visible tiles as a small PNG, in a data URL. */
export function thumbnailOf(tiles, area, width = 96, height = 64) {
  const scale = Math.max(width / area.width, height / area.height);
  const [left, top] = [area.left + (area.width - width / scale) / 2, area.top + (area.height - height / scale) / 2];
  return drawn(tiles, { left, top }, scale, width, height).toDataURL("image/png");
}

/** Tiles on a canvas whose upper left corner lies at a place of the page. */
function drawn(tiles, corner, scale, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  for (const { canvas: tile, box } of tiles) {
    const [left, right] = [box.left, box.right].map((value) => Math.round((value - corner.left) * scale));
    const [top, bottom] = [box.top, box.bottom].map((value) => Math.round((value - corner.top) * scale));
    context.drawImage(tile, left, top, right - left, bottom - top);
  }
  return canvas;
}

/** A PNG with a text chunk after its header. */
export function withText(png, text) {
  const content = new TextEncoder().encode(`${KEYWORD}\0${encodeURI(text)}`);
  const chunk = new Uint8Array(12 + content.length);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, content.length);
  chunk.set(new TextEncoder().encode("tEXt"), 4);
  chunk.set(content, 8);
  view.setUint32(8 + content.length, checksum(chunk.subarray(4, 8 + content.length)));
  const header = 8 + 25; // the signature, and IHDR with its 13 bytes
  const found = new Uint8Array(png.length + chunk.length);
  found.set(png.subarray(0, header));
  found.set(chunk, header);
  found.set(png.subarray(header), header + chunk.length);
  return found;
}

/** Whether bytes are the beginning of a PNG. */
export function isPng(bytes) {
  return SIGNATURE.every((byte, k) => bytes[k] === byte);
}

/** The address that a PNG carries; null without one. */
export function textOf(png) {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  for (let at = 8; at + 12 <= png.length; at += 12 + view.getUint32(at)) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...png.subarray(at + 4, at + 8));
    if (kind !== "tEXt" || at + 12 + length > png.length) continue;
    const [keyword, text] = new TextDecoder("latin1").decode(png.subarray(at + 8, at + 8 + length)).split("\0");
    if (keyword === KEYWORD) return decodeURI(text);
  }
  return null;
}

/** CRC-32, as in PNG. */
function checksum(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}

/** Let the browser save bytes as a file. */
export function download(bytes, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
