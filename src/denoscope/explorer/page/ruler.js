// A ruler in L2 distance.

/** The longest of 1, 2 and 5 times a power of ten that is at most `most` pixels long.
 *  @param perPixel the distance of one pixel */
export function rulerLength(perPixel, most) {
  const limit = perPixel * most;
  const power = 10 ** Math.floor(Math.log10(limit));
  const length = [5, 2, 1].map((k) => k * power).find((value) => value <= limit * (1 + 1e-9));
  return { length, pixels: length / perPixel };
}

export function distanceText(length) {
  return length >= 0.01 ? String(Number(length.toPrecision(2))) : length.toExponential(0).replace("e-", "e−");
}
