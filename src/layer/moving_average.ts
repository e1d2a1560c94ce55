/**
 * How Keras moves its averages, release by release.
 *
 * @module
 */

import { encodeInto, type Tensor, toFloats } from "../tensor.ts";

/**
 * The arithmetic of one update, all of it rounded to the variable's type
 * after every operation (to float32 for 16-bit variables), with m = momentum
 * and v = the batch's value:
 *
 * - `"fused"`, TensorFlow's operator with f = 1 - m: `(1 - f) * old + f * v`,
 *   and just v for f = 1 (`fused_batch_norm_op.cc`)
 * - `"difference"`, the rest of Keras 2: `old - (old - v) * (1 - m)`
 *   (`_assign_moving_average`)
 * - `"product"`, Keras 3: `old * m + v * (1 - m)`
 *
 * Runs on single values gave these bits; they also showed that Keras 2 rounds
 * 1 - m to float32 for float64 variables too.
 */
export type AverageRule = "fused" | "difference" | "product";

/**
 * Moves an average towards new values, in place.
 *
 * @param variable The average.
 * @param values One new value per element, rounded to the variable's type
 * first.
 * @param momentum The weight of the old value.
 * @param rule Whose arithmetic.
 * @param scale What the new values are multiplied by, in float64.
 */
export function moveAverage(
  variable: Tensor,
  values: ArrayLike<number>,
  momentum: number,
  rule: AverageRule,
  scale = 1,
): void {
  const { type, data } = variable;
  // 1 - m is computed in Python, in float64, and rounded afterwards.
  const weight = 1 - momentum;
  if (type === "float64") {
    const fresh = rule === "product" ? weight : Math.fround(weight);
    const kept = rule === "fused" ? 1 - fresh : momentum;
    moveDoubles(data as Float64Array, values, kept, fresh, rule, scale);
    return;
  }
  const fresh = Math.fround(weight);
  const kept = Math.fround(rule === "fused" ? 1 - fresh : momentum);
  if (type === "float32") {
    moveSingles(data as Float32Array, values, kept, fresh, rule, scale);
    return;
  }
  const old = toFloats(variable, new Float32Array(data.length));
  moveSingles(old, values, kept, fresh, rule, scale);
  encodeInto(type, data, old);
}

// Two loops: with a function that rounds or does not, they take several times
// as long, which is a tenth of a step on 256 rows of 1024.

function moveSingles(
  old: Float32Array,
  values: ArrayLike<number>,
  kept: number,
  fresh: number,
  rule: AverageRule,
  scale: number,
): void {
  const round = Math.fround;
  for (let c = 0; c < old.length; c++) {
    const before = old[c]!;
    const value = round(values[c]! * scale);
    if (rule === "difference") {
      old[c] = before - round(round(before - value) * fresh);
    } else if (rule === "fused" && fresh === 1) {
      old[c] = value;
    } else {
      old[c] = round(before * kept) + round(value * fresh);
    }
  }
}

function moveDoubles(
  old: Float64Array,
  values: ArrayLike<number>,
  kept: number,
  fresh: number,
  rule: AverageRule,
  scale: number,
): void {
  for (let c = 0; c < old.length; c++) {
    const before = old[c]!;
    const value = values[c]! * scale;
    if (rule === "difference") {
      old[c] = before - (before - value) * fresh;
    } else if (rule === "fused" && fresh === 1) {
      old[c] = value;
    } else {
      old[c] = before * kept + value * fresh;
    }
  }
}
