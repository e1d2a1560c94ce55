/**
 * How optimizers clip gradients.
 *
 * @module
 */

import type { Round } from "./rounding.ts";

/** A gradient and the precision that it is computed in. */
export interface Clippable {
  /** The gradient, which is clipped in place. */
  readonly gradient: Float64Array;
  /** Rounds to the type of the variable. */
  readonly round: Round;
}

/** The bounds; null for none. */
export interface ClippingBounds {
  /** The largest norm of each gradient. */
  readonly clipnorm: number | null;
  /** The largest magnitude of each element. */
  readonly clipvalue: number | null;
  /** The largest norm of all gradients together. */
  readonly globalClipnorm: number | null;
}

/** The sum of squares, in float64: the order of TensorFlow's sums is its own. */
function sumOfSquares(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum;
}

function clipByValue({ gradient, round }: Clippable, bound: number): void {
  const limit = round(bound);
  for (let i = 0; i < gradient.length; i++) {
    // Not by comparing, which would let NaN pass as the bound.
    gradient[i] = Math.max(Math.min(gradient[i]!, limit), -limit);
  }
}

/** `g * bound / max(norm, bound)`, as `tf.clip_by_norm`. */
function clipByNorm({ gradient, round }: Clippable, bound: number): void {
  const limit = round(bound);
  const norm = round(Math.sqrt(round(sumOfSquares(gradient))));
  const divisor = Math.max(norm, limit);
  for (let i = 0; i < gradient.length; i++) {
    gradient[i] = round(round(gradient[i]! * limit) / divisor);
  }
}

/**
 * `g * scale` with `scale = bound * min(1 / norm, 1 / bound)`, as
 * `tf.clip_by_global_norm`: NaN everywhere where the norm is not finite.
 */
function clipByGlobalNorm(
  gradients: readonly Clippable[],
  bound: number,
): void {
  let squares = 0;
  for (const { gradient } of gradients) squares += sumOfSquares(gradient);
  for (const { gradient, round } of gradients) {
    const norm = round(Math.sqrt(round(squares)));
    const limit = round(bound);
    const least = Math.min(round(1 / norm), round(1 / limit));
    const scale = round(limit * least) + (norm - norm);
    for (let i = 0; i < gradient.length; i++) {
      gradient[i] = round(gradient[i]! * scale);
    }
  }
}

/**
 * Clips the gradients of a step, in place.
 *
 * The optimizers of Keras 2 up to 2.10 apply every bound that is given, by
 * value first; the newer ones apply the first that is given and not 0, by
 * norm first.
 *
 * @param gradients The gradients of all variables.
 * @param bounds The bounds.
 * @param legacy Whether these are the optimizers up to 2.10.
 */
export function clipGradients(
  gradients: readonly Clippable[],
  { clipnorm, clipvalue, globalClipnorm }: ClippingBounds,
  legacy: boolean,
): void {
  if (legacy) {
    for (const one of gradients) {
      if (clipvalue !== null) clipByValue(one, clipvalue);
      if (clipnorm !== null) clipByNorm(one, clipnorm);
    }
    if (globalClipnorm !== null) clipByGlobalNorm(gradients, globalClipnorm);
    return;
  }
  if (clipnorm !== null && clipnorm > 0) {
    for (const one of gradients) clipByNorm(one, clipnorm);
  } else if (globalClipnorm !== null && globalClipnorm > 0) {
    clipByGlobalNorm(gradients, globalClipnorm);
  } else if (clipvalue !== null && clipvalue > 0) {
    for (const one of gradients) clipByValue(one, clipvalue);
  }
}
