/**
 * The layer.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { foldStatistics } from "../kernels/coefficients.ts";
import { resolveKernels } from "../kernels/dispatch.ts";
import { type Layout, layoutOf } from "../kernels/layout.ts";
import type { Kernels, Parameters } from "../kernels/types.ts";
import {
  castTensor,
  createData,
  type ElementType,
  sameDims,
  type Tensor,
  type TensorData,
  tensorLike,
  widen,
} from "../tensor.ts";
import {
  type GradientSums,
  gradientSumsOf,
  inferenceGradients,
  trainingGradients,
} from "./backward.ts";
import { type Built, checkWeightShape, resolveBuild } from "./build.ts";
import type {
  BackwardOptions,
  CallOptions,
  FromConfigOptions,
  Gradients,
} from "./call_options.ts";
import { checkCallOptions } from "./call_options.ts";
import type { ChannelMoments } from "./channel_moments.ts";
import { configOf, type KerasConfig, parseConfig } from "./config.ts";
import type { TapeVectors, TrainingInputs, TrainingTape } from "./forward.ts";
import { inferenceStatistics } from "./inference.ts";
import { checkAgainstSpec, checkLike, checkTensor } from "./input_spec.ts";
import { LayerVariables } from "./layer_variables.ts";
import type { BatchNormalizationOptions, ResolvedOptions } from "./options.ts";
import { resolveOptions } from "./resolve_options.ts";
import { normalizeByBatch } from "./train_batch.ts";
import { updateMovingStatistics } from "./updates.ts";
import { initialWeights } from "./weights.ts";

/**
 * The least epsilon of TensorFlow's fused operator up to 2.11: cuDNN's minimum
 * of 1e-5, with the margin that TensorFlow adds (`nn_impl.py`,
 * `fused_batch_norm`), applied on every device.
 */
const FUSED_EPSILON = 1.001e-5;

let unnamed = 0;

/** Keras' automatic names: `batch_normalization`, `batch_normalization_1`, ... */
function automaticName(): string {
  const name = unnamed === 0
    ? "batch_normalization"
    : `batch_normalization_${unnamed}`;
  unnamed++;
  return name;
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
export class BatchNormalization extends LayerVariables {
  #source: KerasConfig | undefined;
  #built: Built | undefined;
  #layout: { dims: readonly number[]; layout: Layout } | undefined;
  #scratch: { a: Parameters; b: Parameters } | undefined;
  #activityLoss = 0;
  /** Whether TF 1's class: frozen, it still normalizes by the batch. */
  #isVersion1 = false;
  /** What the backward pass of the last call needs. */
  #tape: TrainingTape | undefined;
  /** Of the tape before, for the next one. */
  #spare: TapeVectors | undefined;
  #input: Tensor | undefined;
  #inputType: ElementType | undefined;

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
    const resolved = resolveOptions(options);
    super(resolved.name ?? automaticName(), resolved);
  }

  /** The shape of every variable; undefined until the layer is built. */
  protected override parameterShape(): readonly number[] | undefined {
    return this.#built?.parameterShape;
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
    layer.#isVersion1 = parsed.isVersion1;
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
      options: this.options,
      name: this.name,
      trainable: this.trainable,
      built: this.#built,
      source: this.#source,
    });
  }

  /**
   * The Keras class that this layer is: `BatchNormalizationV1` and
   * `SyncBatchNormalization` (Keras 2's `synchronized`) say more than the
   * configuration does.
   */
  get className(): string {
    if (this.#isVersion1) return "BatchNormalizationV1";
    const { synchronized, kerasVersion } = this.options;
    return synchronized && kerasVersion !== "3"
      ? "SyncBatchNormalization"
      : "BatchNormalization";
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
    const { epsilon, kerasVersion } = this.options;
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
    if (!Array.isArray(inputShape)) {
      throw new ShapeError(
        `Cannot build layer "${this.name}": expected a list of extents, got ${
          String(inputShape)
        }`,
      );
    }
    if (this.#built) {
      checkAgainstSpec(this.name, this.#built.spec, inputShape);
      return;
    }
    const { name } = this;
    const built = resolveBuild(name, this.options, inputShape);
    // Weights that were set before stay the tensors they are: they may have
    // been handed out.
    if (this.variables) {
      checkWeightShape(name, this.weights[0]!, built, inputShape);
    } else {
      this.variables = initialWeights(this.options, built.parameterShape);
    }
    this.#built = built;
  }

  /**
   * Runs the layer.
   *
   * The input is cast to the layer's compute type first, as Keras casts it,
   * and the output has that type.
   *
   * In training, the output is normalized by the batch's own statistics, all
   * computed in float64 and rounded once, and the moving statistics move as
   * the layer's `kerasVersion` has it. A frozen layer (`trainable` false) runs
   * inference instead and changes nothing. Ghost batches are those of Keras:
   * row i belongs to ghost batch `i mod (batch / virtualBatchSize)`.
   *
   * @param x The input; its rank and kept extents are fixed by the first call.
   * @param options Training, mask, merged moments and where the output goes.
   * @returns The output, of the input's shape; `out` where that is given.
   *
   * @throws {ShapeError} If the input, `out`, the mask or the moments do not
   * fit, or ghost batches do not divide the batch.
   * @throws {OptionError} If a type is not what it must be, or
   * `movingVariance + epsilon` is negative somewhere, of which no root is.
   * @throws {UnsupportedError} If ghost batches come with a mask or moments.
   *
   * @example Train a step
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, tensor } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ momentum: 0.5, epsilon: 0 });
   * const y = layer.call(tensor([1, 3], [2, 1]), { training: true });
   * assertEquals([...y.data], [-1, 1]);
   * assertEquals([...layer.movingMean.data], [1]); // half-way from 0 to 2
   *
   * const { dx, dgamma } = layer.backward(tensor([0, 1], [2, 1]));
   * assertEquals([...dx.data], [0, 0]); // two values always become -1 and 1
   * assertEquals([...dgamma!.data], [1]);
   * ```
   */
  call(x: Tensor, options: CallOptions = {}): Tensor {
    const { name } = this;
    const { out } = options;
    checkTensor(x, "the input", name);
    checkCallOptions(options, name);
    const { compute } = this.options.dtype;
    if (x.type !== compute && !this.options.autocast) {
      throw new OptionError(
        `Cannot call layer "${name}" on ${x.type}: it computes in ${compute} and autocast is off`,
      );
    }
    if (out) checkLike(out, compute, x.dims, "out", name);
    const { variables } = this;
    const isNew = this.#built === undefined;
    try {
      this.build(x.dims);
      return this.#run(x, options);
    } catch (error) {
      // A call that failed has not built the layer.
      if (isNew) {
        this.#built = undefined;
        this.variables = variables;
        // The next call may have another number of channels.
        this.#scratch = undefined;
      }
      throw error;
    }
  }

  /** What is left of `call` once all but mask and moments is checked. */
  #run(x: Tensor, options: CallOptions): Tensor {
    const { compute } = this.options.dtype;
    const trains = Boolean(options.training) &&
      (this.trainable || this.#isVersion1);
    let input = castTensor(x, compute);
    const y = options.out ??
      { type: compute, dims: [...x.dims], data: newData(input) };
    const isOverwritten = overlap(input.data, y.data);
    // Kernels run in place, but not over a shifted view; and training needs
    // its input once more, for the gradients.
    const isShifted = isOverwritten &&
      input.data.byteOffset !== y.data.byteOffset;
    if (isShifted || (isOverwritten && trains)) {
      input = { type: compute, dims: input.dims, data: input.data.slice() };
    }
    if (trains) {
      this.#train(input, y, options);
    } else {
      this.#infer(input, y.data);
      this.#measureActivity(y);
      this.#tape = undefined;
    }
    this.#input = isOverwritten && !isShifted && !trains ? undefined : input;
    this.#inputType = x.type;
    return y;
  }

  #infer(x: Tensor, y: TensorData): void {
    const layout = this.#layoutFor(x.dims);
    const kernels = resolveKernels(this.options.kernels);
    const { a, b } = this.#fold(
      kernels,
      x.type === "float64",
      layout.channels,
    );
    kernels.affine(x.type, layout, x.data, y, a, b);
  }

  #train(x: Tensor, y: Tensor, inputs: TrainingInputs): void {
    const { axes, fused } = this.#built!;
    const layer = {
      name: this.name,
      options: this.options,
      axes,
      fused,
      effectiveEpsilon: this.effectiveEpsilon,
      gamma: this.gamma,
      beta: this.beta,
      movingMean: this.movingMean,
      movingVariance: this.movingVariance,
      // Without renorm they are not there, and not used.
      movingStddev: this.movingStddev!,
      renormMean: this.renormMean!,
      renormStddev: this.renormStddev!,
      layoutFor: (dims: readonly number[]) => this.#layoutFor(dims),
    };
    const kernels = resolveKernels(this.options.kernels);
    // Taken away, as a function of the user's may call this layer meanwhile.
    const spare = this.#spare;
    this.#spare = undefined;
    const tape = normalizeByBatch(layer, kernels, x, y.data, inputs, spare);
    this.#measureActivity(y);
    // Last, so that whatever fails before has changed nothing.
    updateMovingStatistics(layer, layer, tape, !this.trainable);
    // The vectors alone: the rest would keep an input alive.
    if (this.#tape) {
      const { gamma, mean, variance, inverse } = this.#tape;
      this.#spare = { gamma, mean, variance, inverse };
    }
    this.#tape = tape;
  }

  #measureActivity(y: Tensor): void {
    const { activityRegularizer } = this.options;
    if (!activityRegularizer) return;
    this.#activityLoss = activityRegularizer.loss(widen(y)) / (y.dims[0] || 1);
  }

  /**
   * The moments of a batch by channel, as `call` in training measures them.
   *
   * For layers that are trained on several replicas at once (Keras'
   * `synchronized`): each measures its part of the batch, `mergeMoments` makes
   * one of all, and each then calls with the option `moments`.
   *
   * @param x The replica's part of the batch.
   * @returns Count, mean and sum of squared deviations of each channel.
   *
   * @throws {ShapeError} If the input does not fit.
   * @throws {OptionError} If it is no tensor.
   */
  moments(x: Tensor): ChannelMoments {
    checkTensor(x, "the input", this.name);
    this.build(x.dims);
    const input = castTensor(x, this.options.dtype.compute);
    const layout = this.#layoutFor(x.dims);
    const mean = new Float64Array(layout.channels);
    const m2 = new Float64Array(layout.channels);
    resolveKernels(this.options.kernels)
      .moments(input.type, layout, input.data, mean, m2);
    return { count: layout.reduced, mean, m2 };
  }

  /**
   * The gradients of the last call, by the input, by gamma and by beta.
   *
   * Regularizers are not in them. Gradients by the parameters have the
   * parameters' shape and type, that by the input has the input's type. After
   * a training call they are by gamma as it was then; after an inference call
   * they are those of inference, by the variables as they are now. The layer
   * keeps the call's input itself, which must not change until then.
   *
   * @param dy The gradient by the output, of the output's shape; converted to
   * the type that the layer computes in.
   * @param options The sums of all replicas, after a call with merged moments,
   * and where the gradient by the input goes.
   * @returns The gradients; those of parameters that the layer has not are
   * missing.
   *
   * @throws {OptionError} If there was no call before, or the call in
   * inference overwrote its input, or `out` has another type than the layer
   * computes in or shares memory with the input or `dy`.
   * @throws {ShapeError} If `dy` or `out` has another shape than the output.
   */
  backward(dy: Tensor, options: BackwardOptions = {}): Gradients {
    const { input, gradient, kernels } = this.#prepareBackward(dy);
    if (options.sums && !this.#tape) {
      throw new OptionError(
        `Cannot use sums in layer "${this.name}": its last call was not in training`,
      );
    }
    const { out } = options;
    if (out) this.#checkGradientOut(out, input, gradient);
    const raw = this.#tape
      ? trainingGradients(
        kernels,
        this.#tape,
        gradient,
        options.sums,
        out?.data,
      )
      : inferenceGradients(
        kernels,
        { x: input, axes: this.#built!.axes },
        this,
        gradient,
        out?.data,
      );
    const { gamma, beta } = this;
    return {
      dx: out ?? castTensor(raw.dx, this.#inputType!),
      ...(gamma ? { dgamma: tensorLike(gamma, raw.dgamma) } : {}),
      ...(beta ? { dbeta: tensorLike(beta, raw.dbeta) } : {}),
    };
  }

  #checkGradientOut(out: Tensor, input: Tensor, gradient: Tensor): void {
    const what = `out of backward of layer "${this.name}"`;
    checkLike(out, this.options.dtype.compute, input.dims, what);
    if (
      overlap(out.data, input.data) || overlap(out.data, gradient.data)
    ) {
      throw new OptionError(
        `Cannot use ${what}: it shares memory with the input or dy, which are still read`,
      );
    }
  }

  /**
   * The sums that the gradient by the input depends on, for replicas.
   *
   * After calls with merged moments, each replica takes these sums, all are
   * added, and each passes the total to `backward`.
   *
   * @param dy The gradient by the output of the last call.
   * @returns The sums of `dy` and of `dy * (x - mean)` of each channel.
   *
   * @throws {OptionError} If the last call was not in training.
   * @throws {ShapeError} If `dy` has another shape than the output.
   */
  gradientSums(dy: Tensor): GradientSums {
    const { gradient, kernels } = this.#prepareBackward(dy);
    if (!this.#tape) {
      throw new OptionError(
        `Cannot sum gradients of layer "${this.name}": its last call was not in training`,
      );
    }
    return gradientSumsOf(kernels, this.#tape, gradient);
  }

  #prepareBackward(
    dy: Tensor,
  ): { input: Tensor; gradient: Tensor; kernels: Kernels } {
    const { name } = this;
    const input = this.#input;
    if (!input) {
      throw new OptionError(
        `Cannot differentiate layer "${name}": ${
          this.#inputType
            ? "its last call overwrote its input, pass another out"
            : "it was not called yet"
        }`,
      );
    }
    const { compute } = this.options.dtype;
    checkTensor(dy, "dy", name);
    const gradient = castTensor(dy, compute);
    checkLike(gradient, compute, input.dims, "dy", name);
    return {
      input,
      gradient,
      kernels: resolveKernels(this.options.kernels),
    };
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
  #fold(
    kernels: Kernels,
    double: boolean,
    channels: number,
  ): { a: Parameters; b: Parameters } {
    if (this.#scratch === undefined) {
      const create = (): Parameters =>
        double ? new Float64Array(channels) : new Float32Array(channels);
      this.#scratch = { a: create(), b: create() };
    }
    const { a, b } = this.#scratch;
    const statistics = inferenceStatistics(this, double);
    if (kernels.fold) kernels.fold(a, b, statistics);
    else foldStatistics(a, b, statistics);
    return this.#scratch;
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
    const { gammaRegularizer, betaRegularizer, kerasVersion } = this.options;
    let sum = this.#activityLoss;
    if (!this.trainable && kerasVersion === "3") return sum;
    const add = (
      regularizer: ResolvedOptions["gammaRegularizer"],
      weight: Tensor | undefined,
    ) => {
      if (!regularizer || !weight) return;
      sum += regularizer.loss(
        widen(weight),
      );
    };
    add(gammaRegularizer, this.gamma);
    add(betaRegularizer, this.beta);
    return sum;
  }
}

/** Whether two arrays share memory. */
function overlap(a: TensorData, b: TensorData): boolean {
  return a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength;
}

/** An array like a tensor's own: a Float16Array begets a Float16Array. */
function newData({ type, data }: Tensor): TensorData {
  return data instanceof Uint16Array || type === "float32" ||
      type === "float64"
    ? createData(type, data.length)
    : new (data.constructor as Float16ArrayConstructor)(data.length);
}
