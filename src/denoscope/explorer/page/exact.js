// Positions in the plane as integers, exact at any level, and their decimal text.
// A position is a fraction of the plane's side in units of 2^-BITS; coordinates are L2 distances from the base.

export const BITS = 128n;
export const ONE = 1n << BITS;
const CELL_BITS = 6n;

/** A decimal number as numerator and denominator. */
export function parseDecimal(text) {
  const found = /^(-?)([0-9]{1,7})(?:\.([0-9]{1,60}))?$/.exec(text);
  if (!found) return null;
  const digits = found[3] ?? "";
  const whole = BigInt(found[2] + digits);
  return { top: found[1] ? -whole : whole, bottom: 10n ** BigInt(digits.length) };
}

/** Decimals that tell the cells of a level apart, and two more. */
export function decimalsOf(level, length) {
  const { top, bottom } = parseDecimal(length);
  let spacing = top;
  const one = bottom << (CELL_BITS + BigInt(level));
  let decimals = 0;
  while (spacing < one) {
    spacing *= 10n;
    decimals += 1;
  }
  return decimals + 2;
}

/** The coordinate at a position, rounded half away from zero, in a plane around a middle. */
export function coordinateText(position, length, decimals, middle = "0") {
  const { top, bottom } = parseDecimal(length);
  const shift = parseDecimal(middle);
  const distance = top * (2n * position - ONE) * shift.bottom + shift.top * bottom * 2n * ONE;
  const numerator = distance * 10n ** BigInt(decimals);
  const denominator = bottom * shift.bottom * 2n * ONE;
  const size = numerator < 0n ? -numerator : numerator;
  const rounded = (2n * size + denominator) / (2n * denominator);
  const digits = rounded.toString().padStart(decimals + 1, "0");
  const text = decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits;
  return numerator < 0n && rounded > 0n ? `-${text}` : text;
}

/** The position nearest to a coordinate in a plane around a middle; null for a text that is no number. */
export function positionOf(text, length, middle = "0") {
  const given = parseDecimal(text);
  if (!given) return null;
  const shift = parseDecimal(middle);
  const value = { top: given.top * shift.bottom - shift.top * given.bottom, bottom: given.bottom * shift.bottom };
  const side = parseDecimal(length);
  const denominator = 2n * value.bottom * side.top;
  const numerator = (2n * value.top * side.bottom + value.bottom * side.top) * ONE;
  return floorDivide(2n * numerator + denominator, 2n * denominator);
}

function floorDivide(a, b) {
  const quotient = a / b;
  return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

/** The cell of a level that contains a position. */
export function cellOf(position, level) {
  return position >> (BITS - CELL_BITS - BigInt(level));
}

/** The position of the point of a lattice: the lower corner of its cell. */
export function positionOfCell(index, level) {
  return index << (BITS - CELL_BITS - BigInt(level));
}

/** The lattice point nearest to a position, or null outside of the plane. */
export function nearestCell(position, level) {
  const shift = BITS - CELL_BITS - BigInt(level);
  const index = (position + (1n << (shift - 1n))) >> shift;
  return index >= 0n && index < 1n << (CELL_BITS + BigInt(level)) ? index : null;
}

/** A fraction between 0 and 1 as units of 2^-bits. */
export function fromFraction(fraction, bits) {
  const scale = 2 ** 52;
  const units = BigInt(Math.round(fraction * scale));
  return bits >= 52n ? units << (bits - 52n) : units >> (52n - bits);
}

/** Units of 2^-bits as a fraction. */
export function toFraction(units, bits) {
  const spare = bits > 60n ? bits - 60n : 0n;
  return Number(units >> spare) / 2 ** Number(bits - spare);
}
