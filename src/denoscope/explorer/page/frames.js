// Images of an answer on canvases.

/** Draw one of the images of an answer. */
export function drawImage(canvas, images, index) {
  canvas.width = images.width;
  canvas.height = images.height;
  putImage(canvas.getContext("2d"), images, index, 0, 0);
}

/** Put one of the images of an answer at a place of a canvas: shades of grey, or colours. */
export function putImage(context, { width, height, rgb, bytes }, index, x, y) {
  const image = context.createImageData(width, height);
  const parts = rgb ? 3 : 1;
  const from = index * width * height * parts;
  for (let k = 0; k < width * height; k += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * k + c] = bytes[from + parts * k + (rgb ? c : 0)];
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, x, y);
}

/** The number of the last entry that was made in a step or before it; the first one if there is none. */
export function entryAt(steps, step) {
  return Math.max(steps.findLastIndex((made) => made <= step), 0);
}
