/**
 * The layer.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { foldStatistics } from "../kernels/coefficients.ts";
import { resolveKernels } from "../kernels/dispatch.ts";
import { type Layout, layoutOf } from "../kernels/layout.ts";
import type { Parameters } from "../kernels/types.ts";
import {
  castTensor,
  createData,
  type Tensor,
  type TensorData,
  toFloats,
} from "../tensor.ts";
import { resolveAxes, resolveFused } from "./axis.ts";
import { configOf, type KerasConfig, parseConfig } from "./config.ts";
import { inferenceStatistics } from "./inference.ts";
import { checkAgainstSpec, checkTensor, type InputSpec } from "./input_spec.ts";
import type { KerasVersion } from "./keras_version.ts";
import {
  type BatchNormalizationOptions,
  type ResolvedOptions,
  resolveOptions,
} from "./options.ts";
import {
  adoptWeights,
  initialWeights,
  parameterShape,
  type WeightName,
  weightNames,
} from "./weights.ts";

/**
 * The least epsilon of TensorFlow's fused operator up to 2.11: cuDNN's minimum
 * of 1e-5, with the margin that TensorFlow adds (`nn_impl.py`,
 * `fused_batch_norm`), applied on every device.
 */
const FUSED_EPSILON = 1.001e-5;

/** How {@linkcode BatchNormalization.call} runs. */
export interface CallOptions {
  /** Whether to use, and learn from, the batch's statistics; default false. */
  readonly training?: boolean;
  /** Keras' mask, of the input's shape without the last axis. */
  readonly mask?: Tensor | Uint8Array;
  /** Where the output goes; may be the input itself. */
  readonly out?: Tensor;
}

/** How {@linkcode BatchNormalization.fromConfig} reads. */
export interface FromConfigOptions {
  /** The release that wrote the configuration; by default its spelling tells. */
  readonly kerasVersion?: KerasVersion;
  /** Which kernels the layer runs on. */
  readonly kernels?: BatchNormalizationOptions["kernels"];
  /**
   * Keep initializers, regularizers and constraints of unknown classes as
   * they are, and fail only when one is used; default false, as in Keras.
   */
  readonly lenient?: boolean;
}

/** What is fixed when the input's shape is first known. */
interface Built {
  readonly spec: InputSpec;
  readonly rank: number;
  readonly axes: readonly number[];
  readonly fused: boolean;
}

let unnamed = 0;

/** Keras' automatic names: `batch_normalization`, `batch_normalization_1`, ... */
function automaticName(): string {
  const name = unnamed === 0
    ? "batch_normalization"
    : `batch_normalization_${unnamed}`;
  unnamed++;
  return name;
}

function sameDims(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, d) => extent === b[d]);
}

/**
 * Keras' BatchNormalization.
 *
 * In inference, per channel c of the kept axes:
 *
 *     y = (x - movingMean[c]) / sqrt(movingVariance[c] + epsilon) * gamma[c] + beta[c]
 *
 * computed as onnxruntime does, `y = x * a + b` with
 * `a = 1 / sqrt(movingVariance + epsilon) * gamma` and
 * `b = beta - movingMean * a`, rounded after every operation.
 *
 * The layer builds itself on the first call, as in Keras; weights set before
 * that are kept and checked then.
 *
 * @example Run a layer in inference
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ epsilon: 0 });
 * layer.setWeights([
 *   tensor([2, 1], [2]), // gamma
 *   tensor([0, 1], [2]), // beta
 *   tensor([1, 3], [2]), // moving mean
 *   tensor([4, 1], [2]), // moving variance
 * ]);
 * const y = layer.call(tensor([3, 4], [1, 2]));
 * assertEquals([...y.data], [2, 2]);
 * ```
 */
export class BatchNormalization {
  /** Whether the layer learns; a frozen one always runs inference. */
  trainable: boolean;

  /** The layer's name. */
  readonly name: string;

  readonly #options: ResolvedOptions;
  #source: KerasConfig | undefined;
  #built: Built | undefined;
  #weights: Map<WeightName, Tensor> | undefined;
  #layout: { dims: readonly number[]; layout: Layout } | undefined;
  #scratch: { a: Parameters; b: Parameters } | undefined;
  #activityLoss = 0;

  /**
   * Makes a layer.
   *
   * @param options Keras' arguments in camelCase, and `kerasVersion` and
   * `kernels`; all have Keras' defaults.
   *
   * @throws {OptionError} If an argument is unknown or has a value that Keras
   * refuses, or `momentum` or `epsilon` is not a finite number.
   */
  constructor(options: BatchNormalizationOptions = {}) {
    this.#options = resolveOptions(options);
    this.name = this.#options.name ?? automaticName();
    this.trainable = this.#options.trainable;
    if (this.#options.weights) this.setWeights(this.#options.weights);
  }

  /**
   * Makes a layer from Keras' JSON.
   *
   * Reads every spelling from Keras 1 to 3: plain `get_config` JSON or a
   * whole serialized layer (`{ class_name, config }`), class names
   * `BatchNormalization`, `BatchNormalizationV1`, `BatchNormalizationV2` and
   * `SyncBatchNormalization`, `axis` as a number or a list, and the shifted
   * axis of built layers with ghost batches. Unknown keys are kept.
   *
   * @param config The configuration.
   * @param options How to read it.
   * @returns The layer, not built.
   *
   * @throws {FormatError} If it is no configuration of a BatchNormalization.
   * @throws {OptionError} If a value is one that Keras refuses.
   *
   * @example Usage
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization } from "@evenkeel/evenkeel";
   *
   * const layer = BatchNormalization.fromConfig({ name: "bn", axis: [3], epsilon: 1e-5 });
   * assertEquals(layer.getConfig(), { name: "bn", axis: [3], epsilon: 1e-5, trainable: true });
   * ```
   */
  static fromConfig(
    config: KerasConfig,
    options: FromConfigOptions = {},
  ): BatchNormalization {
    const parsed = parseConfig(config, options);
    const layer = new BatchNormalization({
      ...parsed.options,
      ...(options.kernels ? { kernels: options.kernels } : {}),
    });
    layer.#source = structuredClone(parsed.source);
    return layer;
  }

  /**
   * The layer's configuration in Keras' JSON, in the spelling of its
   * `kerasVersion`; one that the layer was made from keeps its own spelling.
   *
   * @returns The configuration; `fromConfig` makes the same layer of it.
   */
  getConfig(): KerasConfig {
    return configOf({
      options: this.#options,
      name: this.name,
      trainable: this.trainable,
      built: this.#built,
      source: this.#source,
    });
  }

  /** The checked options that the layer was made with. */
  get options(): ResolvedOptions {
    return this.#options;
  }

  /** The kept axes, non-negative and ascending; undefined until built. */
  get axes(): readonly number[] | undefined {
    return this.#built?.axes;
  }

  /** Whether TensorFlow would run its fused operator; undefined until built. */
  get fused(): boolean | undefined {
    return this.#built?.fused;
  }

  /**
   * The epsilon that the layer really adds to the variance: at least
   * 1.001e-5 on the fused path of Keras 2 before 2.12. Until the layer is built, what it
   * was given.
   */
  get effectiveEpsilon(): number {
    const { epsilon, kerasVersion } = this.#options;
    const hasFloor = kerasVersion === "2.4" || kerasVersion === "2.6";
    return this.#built?.fused && hasFloor
      ? Math.max(epsilon, FUSED_EPSILON)
      : epsilon;
  }

  /**
   * Fixes the rank and the kept extents, and creates the variables unless
   * weights were set before.
   *
   * @param inputShape The input's shape; null for extents that may vary,
   * which those of the kept axes may not.
   *
   * @throws {ShapeError} If the rank is 0, an axis is out of range or named
   * twice, a kept extent is unknown, the fused path was requested and cannot
   * run, weights were set that do not fit, or the layer is built for another
   * shape.
   * @throws {OptionError} If `virtualBatchSize` is not positive, comes with
   * an adjustment, or with an axis that is the batch.
   */
  build(inputShape: readonly (number | null)[]): void {
    if (this.#built) {
      checkAgainstSpec(this.name, this.#built.spec, inputShape);
      return;
    }
    const { name } = this;
    const { virtualBatchSize, adjustment, kerasVersion } = this.#options;
    const rank = inputShape.length;
    if (rank === 0) {
      throw new ShapeError(
        `Cannot build layer "${name}": input has undefined rank, expected at least one dimension`,
      );
    }
    const axes = resolveAxes(this.#options.axis, rank, name);
    if (virtualBatchSize !== null) {
      if (!(virtualBatchSize > 0) || !Number.isInteger(virtualBatchSize)) {
        throw new OptionError(
          `Cannot build layer "${name}": virtualBatchSize must be a positive integer that divides the true batch size, got ${virtualBatchSize}`,
        );
      }
      if (axes.includes(0)) {
        throw new OptionError(
          `Cannot build layer "${name}": with virtualBatchSize, the batch dimension must be 0 and thus axis cannot include 0`,
        );
      }
      if (adjustment !== null) {
        throw new OptionError(
          `Cannot build layer "${name}": with virtualBatchSize, adjustment cannot be specified`,
        );
      }
    }
    const fused = resolveFused(
      this.#options.fused,
      axes,
      rank,
      kerasVersion,
      name,
    );
    const extents = axes.map((axis) => {
      const extent = inputShape[axis];
      if (typeof extent !== "number") {
        throw new ShapeError(
          `Cannot build layer "${name}": input has an undefined extent at axis ${axis} in shape [${
            inputShape.map((e) => e ?? "null").join(", ")
          }]`,
        );
      }
      return extent;
    });
    const shape = parameterShape(inputShape, axes, virtualBatchSize !== null);
    this.#weights = this.#weights
      ? adoptWeights(name, this.#options, [...this.#weights.values()], shape)
      : initialWeights(this.#options, shape);
    this.#built = { spec: { rank, axes, extents }, rank, axes, fused };
  }

  /**
   * Runs the layer.
   *
   * The input is cast to the layer's compute type first, as Keras casts it,
   * and the output has that type.
   *
   * @param x The input; its rank and kept extents are fixed by the first call.
   * @param options Training, mask and where the output goes.
   * @returns The output, of the input's shape; `out` where that is given.
   *
   * @throws {ShapeError} If the input or `out` does not fit.
   * @throws {OptionError} If a type is not what it must be, or
   * `movingVariance + epsilon` is negative somewhere, of which no root is.
   * @throws {UnsupportedError} If a layer that is not frozen is called in
   * training, which this version does not do yet.
   */
  call(x: Tensor, options: CallOptions = {}): Tensor {
    const { name } = this;
    checkTensor(x, `the input of layer "${name}"`);
    if (options.training && this.trainable) {
      throw new UnsupportedError(
        `Cannot call layer "${name}" in training: this version runs inference only, leave training out or freeze the layer with trainable = false`,
      );
    }
    this.build(x.dims);
    const { compute } = this.#options.dtype;
    if (x.type !== compute && !this.#options.autocast) {
      throw new OptionError(
        `Cannot call layer "${name}" on ${x.type}: it computes in ${compute} and autocast is off`,
      );
    }
    const input = castTensor(x, compute);
    const out = options.out ?? {
      type: compute,
      dims: [...x.dims],
      data: newData(input),
    };
    if (options.out) this.#checkOut(options.out, x);
    this.#infer(input, out.data);
    return out;
  }

  #checkOut(out: Tensor, x: Tensor): void {
    checkTensor(out, `out of layer "${this.name}"`);
    const { compute } = this.#options.dtype;
    if (out.type !== compute) {
      throw new OptionError(
        `Cannot write the output of layer "${this.name}" to a ${out.type} tensor: expected ${compute}, the type it computes in`,
      );
    }
    if (!sameDims(out.dims, x.dims)) {
      throw new ShapeError(
        `Cannot write the output of layer "${this.name}": expected out of shape [${
          x.dims.join(", ")
        }], got [${out.dims.join(", ")}]`,
      );
    }
  }

  #infer(x: Tensor, y: TensorData): void {
    const layout = this.#layoutFor(x.dims);
    const { a, b } = this.#fold(x.type === "float64", layout.channels);
    resolveKernels(this.#options.kernels)
      .affine(x.type, layout, x.data, y, a, b);
    const { activityRegularizer } = this.#options;
    if (activityRegularizer) {
      const values = toFloats(
        { type: x.type, dims: x.dims, data: y },
        new Float64Array(y.length),
      );
      this.#activityLoss = activityRegularizer.loss(values) / (x.dims[0] || 1);
    }
  }

  #layoutFor(dims: readonly number[]): Layout {
    if (!this.#layout || !sameDims(this.#layout.dims, dims)) {
      this.#layout = {
        dims: [...dims],
        layout: layoutOf(dims, this.#built!.axes),
      };
    }
    return this.#layout.layout;
  }

  /** The folded vectors; computed anew, since weights may change in place. */
  #fold(double: boolean, channels: number): { a: Parameters; b: Parameters } {
    const create = (): Parameters =>
      double ? new Float64Array(channels) : new Float32Array(channels);
    this.#scratch ??= { a: create(), b: create() };
    const { a, b } = this.#scratch;
    foldStatistics(a, b, inferenceStatistics(this, double));
    return { a, b };
  }

  /**
   * The layer's variables in Keras' order, as copies.
   *
   * @returns gamma (with `scale`), beta (with `center`), moving mean, moving
   * variance and, with `renorm`, moving stddev, renorm mean and renorm
   * stddev; empty for a layer that is neither built nor has weights.
   */
  getWeights(): Tensor[] {
    return this.weights.map(({ type, dims, data }) => ({
      type,
      dims: [...dims],
      data: data.slice(),
    }));
  }

  /**
   * Sets the layer's variables; a layer that is not built keeps them until
   * then.
   *
   * @param weights As many tensors as `getWeights` gives, in that order, each
   * of the variables' shape; converted to their type.
   *
   * @throws {ShapeError} If the count or a shape does not fit; then nothing
   * is set.
   */
  setWeights(weights: readonly Tensor[]): void {
    weights.forEach((weight, i) => {
      const name = weightNames(this.#options)[i] ?? `weight ${i}`;
      checkTensor(weight, `${name} of layer "${this.name}"`);
    });
    const shape = this.#built && this.movingMean.dims;
    this.#weights = adoptWeights(this.name, this.#options, weights, shape);
  }

  /** The factor of each channel, in the layer; undefined without `scale`. */
  get gamma(): Tensor | undefined {
    return this.#weights?.get("gamma");
  }

  /** The summand of each channel, in the layer; undefined without `center`. */
  get beta(): Tensor | undefined {
    return this.#weights?.get("beta");
  }

  /** The mean that inference uses, in the layer. */
  get movingMean(): Tensor {
    return this.#variable("moving_mean");
  }

  /** The variance that inference uses, in the layer. */
  get movingVariance(): Tensor {
    return this.#variable("moving_variance");
  }

  /** The averaged deviation of batch renormalization; else undefined. */
  get movingStddev(): Tensor | undefined {
    return this.#weights?.get("moving_stddev");
  }

  /** The mean that renormalization corrects towards; else undefined. */
  get renormMean(): Tensor | undefined {
    return this.#weights?.get("renorm_mean");
  }

  /** The deviation that renormalization corrects towards; else undefined. */
  get renormStddev(): Tensor | undefined {
    return this.#weights?.get("renorm_stddev");
  }

  #variable(name: WeightName): Tensor {
    const weight = this.#weights?.get(name);
    if (!weight) {
      throw new ShapeError(
        `Cannot read ${name} of layer "${this.name}": the layer has no weights yet, call build(inputShape) or setWeights first`,
      );
    }
    return weight;
  }

  /** All variables in Keras' order, in the layer. */
  get weights(): Tensor[] {
    return [...this.#weights?.values() ?? []];
  }

  /** gamma and beta; none for a frozen layer. */
  get trainableWeights(): Tensor[] {
    if (!this.trainable) return [];
    return [this.gamma, this.beta].filter((weight) => weight !== undefined);
  }

  /** The moving statistics; for a frozen layer, all variables. */
  get nonTrainableWeights(): Tensor[] {
    const trainable = this.trainableWeights;
    return this.weights.filter((weight) => !trainable.includes(weight));
  }

  /**
   * The sum of the layer's losses: the regularizers of gamma and beta, and
   * the activity regularizer of the last output divided by its batch size.
   *
   * Keras 3 counts a frozen layer's gamma and beta no longer; Keras 2 does.
   *
   * @returns The loss; 0 without regularizers.
   */
  losses(): number {
    const { gammaRegularizer, betaRegularizer, kerasVersion } = this.#options;
    let sum = this.#activityLoss;
    if (!this.trainable && kerasVersion === "3") return sum;
    const add = (
      regularizer: ResolvedOptions["gammaRegularizer"],
      weight: Tensor | undefined,
    ) => {
      if (!regularizer || !weight) return;
      sum += regularizer.loss(
        toFloats(weight, new Float64Array(weight.data.length)),
      );
    };
    add(gammaRegularizer, this.gamma);
    add(betaRegularizer, this.beta);
    return sum;
  }
}

/** An array like a tensor's own: a Float16Array begets a Float16Array. */
function newData({ type, data }: Tensor): TensorData {
  return data instanceof Uint16Array || type === "float32" ||
      type === "float64"
    ? createData(type, data.length)
    : new (data.constructor as Float16ArrayConstructor)(data.length);
}
