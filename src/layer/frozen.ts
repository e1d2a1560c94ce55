/**
 * BatchNormalization with fixed weights: inference and nothing else.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { foldStatistics } from "../kernels/coefficients.ts";
import type { KernelChoice } from "../kernels/dispatcher.ts";
import { resolveKernels } from "../kernels/inference_dispatch.ts";
import { type Layout, layoutOf } from "../kernels/layout.ts";
import type { Parameters } from "../kernels/types.ts";
import { createData, sameDims, type Tensor } from "../tensor.ts";
import { type Axis, resolveAxes } from "./axis.ts";
import { inferenceStatistics, type InferenceVariables } from "./inference.ts";
import { checkLike, checkTensor } from "./input_spec.ts";

/** The weights of a {@linkcode FrozenBatchNormalization}. */
export interface FrozenWeights {
  /** The moving mean of each channel. */
  readonly movingMean: Tensor;
  /** The moving variance of each channel. */
  readonly movingVariance: Tensor;
  /** The factor of each channel; 1 without it. */
  readonly gamma?: Tensor | undefined;
  /** The summand of each channel; 0 without it. */
  readonly beta?: Tensor | undefined;
}

/** The options of {@linkcode FrozenBatchNormalization}. */
export interface FrozenOptions {
  /** The dimension or dimensions of the channels; the last by default. */
  readonly axis?: Axis;
  /**
   * What is added to the variance; 1e-3 by default. A Keras 2 layer on the
   * fused path adds at least 1.001e-5: its `effectiveEpsilon`.
   */
  readonly epsilon?: number;
  /** The layer's name for messages. */
  readonly name?: string;
  /** Which kernels to run on; by default what `setKernels` chose. */
  readonly kernels?: KernelChoice;
}

// Records, so that the compiler notices what is missing here.
const WEIGHTS: Readonly<Record<keyof FrozenWeights, true>> = {
  movingMean: true,
  movingVariance: true,
  gamma: true,
  beta: true,
};
const OPTIONS: Readonly<Record<keyof FrozenOptions, true>> = {
  axis: true,
  epsilon: true,
  name: true,
  kernels: true,
};

const CALL_OPTIONS = { out: true } as const;

/** Refuses a key that there is not: misspelt, it would be ignored. */
function checkKeys(given: object, known: object, what: string): void {
  for (const key in given) {
    if (!Object.hasOwn(known, key)) {
      throw new OptionError(
        `Cannot make a layer with the ${what} "${key}": expected ${
          Object.keys(known).join(", ")
        }`,
      );
    }
  }
}

/**
 * Keras' BatchNormalization in inference, for where every kilobyte counts: no
 * training, no configuration, no initializers.
 *
 * Its results are bit for bit those of `BatchNormalization`'s `call`, and of
 * onnxruntime-web:
 *
 *     y = (x - movingMean[c]) / sqrt(movingVariance[c] + epsilon) * gamma[c] + beta[c]
 *
 * computed as `y = x * a + b`, folded once, when the layer is made.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { FrozenBatchNormalization, tensor } from "@evenkeel/evenkeel/inference";
 *
 * const layer = new FrozenBatchNormalization({
 *   movingMean: tensor([1, 3], [2]),
 *   movingVariance: tensor([4, 1], [2]),
 * }, { epsilon: 0 });
 * assertEquals([...layer.call(tensor([3, 4], [1, 2])).data], [1, 1]);
 * ```
 */
export class FrozenBatchNormalization {
  /** The layer's name for messages. */
  readonly name: string;
  readonly #axis: Axis;
  readonly #kernels: KernelChoice | undefined;
  readonly #variables: InferenceVariables;
  /** The folded vectors, by the precision that is computed in. */
  readonly #folded = new Map<boolean, { a: Parameters; b: Parameters }>();
  #layout: { dims: readonly number[]; layout: Layout } | undefined;

  /**
   * Makes a layer. The weights are read at the first call on float64, and on
   * any other type, and must not change from then on.
   *
   * @param weights The weights, one value per channel each.
   * @param options Where the channels are, and what is added to the variance.
   *
   * @throws {OptionError} If a key is unknown, a weight is no tensor, or
   * epsilon is not a finite number.
   * @throws {ShapeError} If the weights have different numbers of elements.
   */
  constructor(weights: FrozenWeights, options: FrozenOptions = {}) {
    const { axis = -1, epsilon = 1e-3, name = "batch_normalization" } = options;
    checkKeys(weights, WEIGHTS, "weight");
    checkKeys(options, OPTIONS, "option");
    if (!Number.isFinite(epsilon)) {
      throw new OptionError(
        `Cannot make layer "${name}" with epsilon ${epsilon}: expected a finite number`,
      );
    }
    const { movingMean, movingVariance, gamma, beta } = weights;
    const channels = movingMean?.data?.length;
    for (const [key, weight] of Object.entries(weights)) {
      if (weight === undefined && (key === "gamma" || key === "beta")) continue;
      checkTensor(weight as Tensor, `${key} of layer "${name}"`);
      if ((weight as Tensor).data.length !== channels) {
        throw new ShapeError(
          `Cannot use ${key} of layer "${name}": expected ${channels} values, got ${
            (weight as Tensor).data.length
          }`,
        );
      }
    }
    checkTensor(movingMean, `movingMean of layer "${name}"`);
    checkTensor(movingVariance, `movingVariance of layer "${name}"`);
    this.name = name;
    this.#axis = axis;
    this.#kernels = options.kernels;
    this.#variables = {
      name,
      gamma,
      beta,
      movingMean,
      movingVariance,
      effectiveEpsilon: epsilon,
    };
  }

  /**
   * Runs the layer in the input's own type.
   *
   * @param x The input.
   * @param options Where the output goes; may be the input itself.
   * @returns The output, of the input's shape and type; `out` where given.
   *
   * @throws {ShapeError} If the input does not have the weights' channels, or
   * `out` has another shape.
   * @throws {OptionError} If `out` has another type or overlaps the input
   * without being it, or `movingVariance + epsilon` is negative somewhere, of
   * which no root is.
   */
  call(x: Tensor, options: { readonly out?: Tensor } = {}): Tensor {
    const { name } = this;
    checkTensor(x, "the input", name);
    checkKeys(options, CALL_OPTIONS, "option");
    const layout = this.#layoutFor(x.dims);
    const { a, b } = this.#fold(x.type === "float64");
    const { out } = options;
    if (out) {
      checkLike(out, x.type, x.dims, "out", name);
      checkOverlap(x, out, name);
    }
    const y = out ??
      { type: x.type, dims: [...x.dims], data: newData(x) };
    resolveKernels(this.#kernels).affine(x.type, layout, x.data, y.data, a, b);
    return y;
  }

  #layoutFor(dims: readonly number[]): Layout {
    if (!this.#layout || !sameDims(this.#layout.dims, dims)) {
      const layout = layoutOf(
        dims,
        resolveAxes(this.#axis, dims.length, this.name),
      );
      const channels = this.#variables.movingMean.data.length;
      if (layout.channels !== channels) {
        throw new ShapeError(
          `Cannot call layer "${this.name}" on shape [${
            dims.join(", ")
          }]: expected ${channels} channels, got ${layout.channels}`,
        );
      }
      this.#layout = { dims: [...dims], layout };
    }
    return this.#layout.layout;
  }

  #fold(double: boolean): { a: Parameters; b: Parameters } {
    let folded = this.#folded.get(double);
    if (folded === undefined) {
      const statistics = inferenceStatistics(this.#variables, double);
      const create = (): Parameters =>
        double
          ? new Float64Array(statistics.mean.length)
          : new Float32Array(statistics.mean.length);
      folded = { a: create(), b: create() };
      foldStatistics(folded.a, folded.b, statistics);
      this.#folded.set(double, folded);
    }
    return folded;
  }
}

/** Kernels run in place, but not over a shifted view. */
function checkOverlap(x: Tensor, out: Tensor, layer: string): void {
  const { buffer, byteOffset, byteLength } = x.data;
  const start = out.data.byteOffset;
  if (
    buffer === out.data.buffer && byteOffset !== start &&
    byteOffset < start + out.data.byteLength && start < byteOffset + byteLength
  ) {
    throw new OptionError(
      `Cannot use out of layer "${layer}": it overlaps the input without being it`,
    );
  }
}

/** An array like a tensor's own: a Float16Array begets a Float16Array. */
function newData({ type, data }: Tensor): Tensor["data"] {
  return data instanceof Uint16Array || type === "float32" ||
      type === "float64"
    ? createData(type, data.length)
    : new (data.constructor as Float16ArrayConstructor)(data.length);
}
