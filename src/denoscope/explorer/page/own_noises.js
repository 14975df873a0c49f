// The user's own noises: newly drawn, or an image to which noise is added.

import { viewsIn } from "./view_file.js";

const LARGEST_FILE = 2 ** 26;
const MOST_VALUES = 4096;

/** The fields of a scene with other seeds. */
export function redrawn(scene) {
  const seeds = [...crypto.getRandomValues(new Uint32Array(3))];
  if (scene.through) return { ...scene, through: seeds.join(",") };
  return { ...scene, base_seed: String(seeds[0]), direction_seeds: seeds.slice(1).join(",") };
}

/** What a file leads to: the views that it holds, or the scene with its image.
 *  @returns {address}, {bookmarks} or {scene}; throws an Error that says why it leads nowhere */
export async function contentOf(file, scene, shape) {
  if (!file) throw new Error("Nothing was dropped; allowed: an image (PNG, JPEG), or a file that this page has saved.");
  if (file.size > LARGEST_FILE) throw new Error(`${file.name} is larger than ${LARGEST_FILE / 2 ** 20} MiB.`);
  const views = await viewsIn(file);
  if (views) return views;
  if (!shape) throw new Error("No model is shown to which the image could go; open a view first.");
  return { scene: { ...scene, image: fieldOf(await bytesOfImage(file, shape)) } };
}

/** The bytes of an image file, scaled and cut to a shape [C, H, W]. */
async function bytesOfImage(file, [channels, height, width]) {
  if (channels !== 1 && channels !== 3) {
    throw new Error(`The model's states have ${channels} channels; images are shown to models of 1 or 3.`);
  }
  if (channels * height * width > MOST_VALUES) {
    throw new Error(`The model's states have ${channels * height * width} values; images have at most ${MOST_VALUES}.`);
  }
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no image that the browser reads; allowed: PNG, JPEG, or a file that this page has saved.`);
  }
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, width, height);
  const scale = Math.max(width / picture.width, height / picture.height);
  const size = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (width - size[0]) / 2, (height - size[1]) / 2, ...size);
  picture.close();
  const { data } = context.getImageData(0, 0, width, height);
  const values = (channel) => Array.from({ length: width * height }, (_, k) => valueOf(data, 4 * k, channels, channel));
  return Uint8Array.from(Array.from({ length: channels }, (_, channel) => values(channel)).flat());
}

function valueOf(data, at, channels, channel) {
  return channels === 3 ? data[at + channel] : Math.round(0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]);
}

/** Bytes as base64url, without padding. */
function fieldOf(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** The bytes of a field; null if it is malformed. */
function bytesOfField(field) {
  try {
    return Uint8Array.from(atob(field.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

/** The same image with dark and light exchanged. */
function inverted(field) {
  return fieldOf(bytesOfField(field).map((byte) => 255 - byte));
}

/** The part of the settings that shows the image of the scene. */
export class ImageSettings {
  /** @param onFile called with a chosen file; @param onScene called with the fields of another scene */
  constructor(root, onFile, onScene) {
    this.root = root;
    this.find = (id) => root.querySelector(`#${id}`);
    this.find("image-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) onFile(file);
    });
    this.find("invert-image").addEventListener("click", () => onScene({ ...this.scene, image: inverted(this.scene.image) }));
    this.find("remove-image").addEventListener("click", () => {
      const { image: _, ...rest } = this.scene;
      onScene(rest);
    });
  }

  fill(scene, { shape: [channels, height, width] }) {
    this.scene = scene;
    const bytes = scene.image ? bytesOfField(scene.image) : null;
    this.find("image-shown").hidden = !bytes;
    if (!bytes) return;
    const canvas = Object.assign(this.find("image-preview"), { width, height });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    for (let k = 0; k < width * height; k += 1) {
      const color = [0, 1, 2].map((channel) => bytes[Math.min(channel, channels - 1) * width * height + k]);
      pixels.data.set([...color, 255], 4 * k);
    }
    context.putImageData(pixels, 0, 0);
  }
}
