/**
 * The vectors of a layer, as its ONNX forms need them.
 *
 * @module
 */

import { foldStatistics } from "../kernels/coefficients.ts";
import type { Parameters } from "../kernels/types.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { inferenceStatistics } from "../layer/inference.ts";

/** Inputs and attribute of ONNX' BatchNormalization. */
export interface OperatorParameters {
  readonly scale: Parameters;
  readonly B: Parameters;
  readonly inputMean: Parameters;
  readonly inputVar: Parameters;
  /** A float32 number. */
  readonly epsilon: number;
  /** What a reader must know to make the layer's variance of `inputVar`. */
  readonly note?: string | undefined;
}

function isDouble(layer: BatchNormalization): boolean {
  return layer.options.dtype.compute === "float64";
}

/** An array of the type that a layer computes its parameters in. */
function allocate(layer: BatchNormalization, length: number): Parameters {
  return isDouble(layer) ? new Float64Array(length) : new Float32Array(length);
}

/**
 * The parameters of BatchNormalization: missing gamma are ones, missing beta
 * zeros.
 *
 * The operator's epsilon is a float32. Where a float64 layer's is not, the
 * difference goes into the variance: with `inputVar` as
 * `(variance + epsilon) - epsilon32`, each operation rounded to float64, the
 * operator's `inputVar + epsilon32` is the layer's `variance + epsilon` again.
 *
 * That is exact as long as the variance is not negative and `epsilon32`, of
 * 24 bits, is a multiple of the step of the sum: for an epsilon of 0.001, of
 * sums below 2^20. Should one channel be beyond that, the operator gets an
 * epsilon of 0 and `inputVar` is the whole sum.
 *
 * @throws {OptionError} If `movingVariance + epsilon` is negative somewhere.
 */
export function operatorParameters(
  layer: BatchNormalization,
): OperatorParameters {
  const { gamma, beta, mean, variance, epsilon } = inferenceStatistics(
    layer,
    isDouble(layer),
  );
  const vectors = {
    scale: gamma ?? allocate(layer, mean.length).fill(1),
    B: beta ?? allocate(layer, mean.length),
    inputMean: mean,
  };
  const epsilon32 = Math.fround(epsilon);
  if (variance instanceof Float32Array || epsilon32 === epsilon) {
    return { ...vectors, inputVar: variance, epsilon: epsilon32 };
  }
  const exact = variance.every((value) => {
    const sum = value + epsilon;
    return Object.is(sum - epsilon32 + epsilon32, sum);
  });
  const written = exact ? epsilon32 : 0;
  return {
    ...vectors,
    inputVar: variance.map((value) => value + epsilon - written),
    epsilon: written,
    note:
      `input_var is the layer's variance + its epsilon ${epsilon} - the epsilon here`,
  };
}

/**
 * The layer's `a` and `b`, of which it is `y = x * a + b`.
 *
 * @throws {OptionError} If `movingVariance + epsilon` is negative somewhere.
 */
export function affineParameters(
  layer: BatchNormalization,
): { a: Parameters; b: Parameters } {
  const statistics = inferenceStatistics(
    layer,
    isDouble(layer),
  );
  const a = allocate(layer, statistics.mean.length);
  const b = allocate(layer, statistics.mean.length);
  foldStatistics(a, b, statistics);
  return { a, b };
}
