// Images of an answer on canvases.

/** Draw one of the images of an answer: shades of grey, or colours. */
export function drawImage(canvas, { width, height, rgb, bytes }, index) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const parts = rgb ? 3 : 1;
  const from = index * width * height * parts;
  for (let k = 0; k < width * height; k += 1) {
    for (let c = 0; c < 3; c += 1) image.data[4 * k + c] = bytes[from + parts * k + (rgb ? c : 0)];
    image.data[4 * k + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** The number of the last entry that was made in a step or before it; the first one if there is none. */
export function entryAt(steps, step) {
  return Math.max(steps.findLastIndex((made) => made <= step), 0);
}
