/**
 * Loops that bound float32 elements, as `Bounds` has it.
 *
 * What signs and bounds of real data say cannot be predicted, so that a branch
 * on them is wrong half of the time. Bits have none; their constants stand in
 * the loops, where V8 knows that they are integers: one that it has to look up
 * can make a loop take 1.6 times as long.
 *
 * Loops for few and for many elements are functions of their own: together,
 * V8 compiles the second for what the first has seen, which takes 1.7 times as
 * long ever after.
 *
 * @module
 */

import { bitsOf, bitsOfNumber, FEW } from "./float32_bits.ts";
import type { Bounds } from "./types.ts";

/**
 * What is below 0 becomes 0; -0 and NaN stay.
 *
 * Measured on 1.6 million elements of both signs: in a fifth of the time of
 * `x < 0 ? 0 : x` and of `Math.max`, 1.4 times that of a loop that only copies.
 */
function clampBelowZero(x: Float32Array, y: Float32Array): void {
  const from = bitsOf(x);
  const to = bitsOf(y);
  for (let i = 0; i < to.length; i++) {
    const bits = from[i]!;
    // All have the sign bit only if it is set, the rest is not 0 and not NaN.
    const isBelow = bits & (-0x80000000 - bits) & (bits + 0x7fffff);
    to[i] = bits & ~(isBelow >> 31);
  }
}

function clampFew(
  x: Float32Array,
  y: Float32Array,
  low: number,
  high: number,
): void {
  for (let i = 0; i < y.length; i++) {
    const value = x[i]!;
    const raised = value < low ? low : value;
    y[i] = raised > high ? high : raised;
  }
}

/** The commonest bounds, 0 and above, as in Relu. */
function clampAtZero(x: Float32Array, y: Float32Array, high: number): void {
  const from = bitsOf(x);
  const to = bitsOf(y);
  const most = bitsOfNumber(high);
  for (let i = 0; i < to.length; i++) {
    const bits = from[i]!;
    const isBelow = bits & (-0x80000000 - bits) & (bits + 0x7fffff);
    const raised = bits & ~(isBelow >> 31);
    // Both have the sign bit only above the bound and up to infinity.
    const isAbove = (most - raised) & (raised - 0x7f800001);
    to[i] = raised ^ ((raised ^ most) & (isAbove >> 31));
  }
}

/**
 * The lesser of a bound and an element that is not below the other bound; NaN
 * stays, and no bound is one if it is NaN.
 *
 * Measured on 1.6 million elements of which two thirds are outside: in a fifth
 * of the time of two branches.
 */
function clampMany(
  x: Float32Array,
  y: Float32Array,
  low: number,
  high: number,
): void {
  const from = bitsOf(x);
  const to = bitsOf(y);
  const most = bitsOfNumber(high);
  const least = low > high ? most : bitsOfNumber(low);
  for (let i = 0; i < to.length; i++) {
    const value = x[i]!;
    let bits = from[i]!;
    bits ^= (bits ^ least) & -Number(value < low);
    to[i] = bits ^ ((bits ^ most) & -Number(value > high));
  }
}

/**
 * Bounds elements.
 *
 * @param x The input.
 * @param y The output, as long as `x`; may be `x`.
 * @param bounds The bounds.
 */
export function clampFloat32(
  x: Float32Array,
  y: Float32Array,
  { low, high }: Bounds,
): void {
  if (y.length <= FEW) clampFew(x, y, low, high);
  else if (!Object.is(low, 0) || !(high > 0)) clampMany(x, y, low, high);
  else if (high === Infinity) clampBelowZero(x, y);
  else clampAtZero(x, y, high);
}
