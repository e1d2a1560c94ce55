/**
 * How Keras moves its averages, release by release.
 *
 * @module
 */

import { encodeInto, type Tensor, widen } from "../tensor.ts";

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
 */
export function moveAverage(
  variable: Tensor,
  values: ArrayLike<number>,
  momentum: number,
  rule: AverageRule,
): void {
  const round = variable.type === "float64"
    ? (value: number) => value
    : Math.fround;
  const old = widen(variable); // which becomes the new one
  // 1 - m is computed in Python, in float64, and rounded afterwards.
  const fresh = (rule === "product" ? round : Math.fround)(1 - momentum);
  const kept = rule === "fused" ? round(1 - fresh) : round(momentum);
  // A loop: `map` takes several times as long as all of this.
  for (let c = 0; c < old.length; c++) {
    const before = old[c]!;
    const value = round(values[c]!);
    if (rule === "difference") {
      old[c] = round(before - round(round(before - value) * fresh));
    } else if (rule === "fused" && fresh === 1) {
      old[c] = value;
    } else {
      old[c] = round(round(before * kept) + round(value * fresh));
    }
  }
  encodeInto(variable.type, variable.data, old);
}
