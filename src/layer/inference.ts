/**
 * What a layer uses in inference.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { Statistics } from "../kernels/coefficients.ts";
import type { Parameters } from "../kernels/types.ts";
import { type Tensor, toFloats } from "../tensor.ts";

/** What of a layer inference depends on. */
export interface InferenceVariables {
  /** The layer's name for messages. */
  readonly name: string;
  /** The factor of each channel, if there is one. */
  readonly gamma: Tensor | undefined;
  /** The summand of each channel, if there is one. */
  readonly beta: Tensor | undefined;
  /** The mean of each channel. */
  readonly movingMean: Tensor;
  /** The variance of each channel. */
  readonly movingVariance: Tensor;
  /** What is added to the variance. */
  readonly effectiveEpsilon: number;
}

/**
 * The vectors that a layer uses in inference, in the precision that it
 * computes in; those that have it already are not copied.
 *
 * @param layer The layer.
 * @param double Whether that is float64; float32 otherwise.
 *
 * @throws {OptionError} If `movingVariance + epsilon` is negative somewhere.
 */
export function inferenceStatistics(
  layer: InferenceVariables,
  double: boolean,
): Statistics {
  const { gamma, beta, effectiveEpsilon: epsilon } = layer;
  const variance = vector(layer.movingVariance, double);
  for (let c = 0; c < variance.length; c++) {
    if (variance[c]! + epsilon < 0) {
      throw new OptionError(
        `Cannot run layer "${layer.name}": movingVariance[${c}] is ${
          variance[c]
        }, and movingVariance + epsilon must not be negative`,
      );
    }
  }
  return {
    gamma: gamma && vector(gamma, double),
    beta: beta && vector(beta, double),
    mean: vector(layer.movingMean, double),
    variance,
    epsilon,
  };
}

/** A weight in float64 or float32. */
function vector(weight: Tensor, double: boolean): Parameters {
  if (weight.type === (double ? "float64" : "float32")) {
    return weight.data as Parameters;
  }
  const { length } = weight.data;
  return toFloats(
    weight,
    double ? new Float64Array(length) : new Float32Array(length),
  );
}
