/**
 * Arithmetic in the precision of a variable.
 *
 * @module
 */

import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "../half_float.ts";
import type { ElementType } from "../tensor.ts";

/** Rounds a number to nearest, ties to even, in some precision. */
export type Round = (value: number) => number;

/**
 * Per element type: rounding to it. Sums, products, quotients and roots of
 * its numbers that were computed in float64 come out as if they were computed
 * in the type itself: float64 has more than twice the digits of the others
 * (Figueroa, "When is double rounding innocuous?", 1995).
 */
export const ROUND: Readonly<Record<ElementType, Round>> = {
  float64: (value) => value,
  float32: Math.fround,
  float16: (value) => float16ToNumber(numberToFloat16(value)),
  bfloat16: (value) => bfloat16ToNumber(numberToBfloat16(value)),
};
