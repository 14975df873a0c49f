// Files that lead back to views: pictures, posters, cells and bookmarks. They are read as data, never as a part of the page.

import { bookmarksOf } from "./bookmark_list.js";
import { isPng, textOf } from "./poster.js";
import { isAddress } from "./view_state.js";

const LARGEST_TEXT = 2 ** 24;
const ALLOWED = "a picture, poster, cells or bookmarks that this page has saved, or an image (PNG, JPEG)";
const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** The views in a file: {address} of one, or {bookmarks} of many; null for an image without an address.
 *  Throws an Error for a text that holds none. */
export async function viewsIn(file) {
  const kind = kindOf(new Uint8Array(await file.slice(0, 64).arrayBuffer()));
  if (!kind) return null;
  if (kind === "png") {
    const address = addressOfPng(new Uint8Array(await file.arrayBuffer()));
    return address ? { address } : null;
  }
  if (file.size > LARGEST_TEXT) throw new Error(`${file.name} is larger than ${LARGEST_TEXT / 2 ** 20} MiB.`);
  const text = await file.text();
  const views = kind === "svg" ? viewOfSvg(text) : viewsOfJson(text);
  if (!views) throw new Error(`${file.name} holds no link to a view; allowed: ${ALLOWED}.`);
  return views;
}

/** What a file is by its first bytes; null for anything but PNG, SVG and JSON. */
function kindOf(bytes) {
  if (isPng(bytes)) return "png";
  const first = new TextDecoder().decode(bytes).trimStart()[0];
  return { "<": "svg", "{": "json", "[": "json" }[first] ?? null;
}

function addressOfPng(bytes) {
  try {
    const address = textOf(bytes);
    return isAddress(address) ? address : null;
  } catch {
    return null; // what it carries is no address
  }
}

/** The address in the description of a poster. A document made of the text could apply its styles and fetch its images. */
function viewOfSvg(text) {
  for (const [, content] of text.matchAll(/<desc(?:\s[^<>]*)?>([^<]*)<\/desc>/g)) {
    const address = unescaped(content).trim();
    if (isAddress(address)) return { address };
  }
  return null;
}

function unescaped(content) {
  return content.replace(/&(?:#([0-9]{1,6})|#x([0-9a-fA-F]{1,5})|(amp|lt|gt|quot|apos));/g, (_, decimal, hex, name) =>
    name ? NAMED[name] : String.fromCodePoint(decimal ? Number(decimal) : parseInt(hex, 16)),
  );
}

function viewsOfJson(text) {
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    return null;
  }
  if (content?.denoscope === "cells" && isAddress(content.address)) return { address: content.address };
  const bookmarks = content?.denoscope === "bookmarks" ? bookmarksOf(content.bookmarks) : [];
  return bookmarks.length ? { bookmarks } : null;
}
