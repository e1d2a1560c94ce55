/**
 * Moments of many batches, and what is needed to go on training.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { resolveKernels } from "../kernels/dispatch.ts";
import { layoutOf } from "../kernels/layout.ts";
import { type Axis, checkAxis, resolveAxes } from "../layer/axis.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { checkTensor } from "../layer/input_spec.ts";
import type { JsonObject } from "../layer/keras_object.ts";
import { encodeInto, sameDims, type Tensor } from "../tensor.ts";
import type { Optimizer } from "./optimizer.ts";
import {
  adoptVariables,
  stateInOnnx,
  type StateOnnxOptions,
  stateToOnnx,
  updateFromLayer,
  type UpdateOnnxOptions,
} from "./state_onnx.ts";
import { openOnnx } from "../onnx/onnx_model.ts";
import { loadState, saveState, type StateContents } from "./saved_state.ts";
import {
  decodeBytes,
  decodeJson,
  encodeBytes,
  encodeJson,
} from "./snapshot.ts";
import {
  measureMoments,
  mergeWideMoments,
  type WideMoments,
} from "./wide_moments.ts";

/** The options of {@linkcode TrainingState}. */
export interface TrainingStateOptions {
  /**
   * The axis, or axes, that keep their own statistics; by default those of
   * `layer`, and -1 without one.
   */
  readonly axis?: Axis;
  /** The layer that is trained, to be saved with the state. */
  readonly layer?: BatchNormalization;
  /** Its optimizer, to be saved with the state. */
  readonly optimizer?: Optimizer;
}

/** The options of {@linkcode TrainingState.applyTo}. */
export interface ApplyOptions {
  /**
   * Whether the layer gets the unbiased variance, `M2 / (count - 1)`, which
   * the fused path of Keras 2 stores; false by default, for `M2 / count`,
   * which everything else does.
   */
  readonly unbiased?: boolean;
}

/** Extents other than 1, which tell two lists of channels apart. */
function essential(dims: readonly number[]): number[] {
  return dims.filter((extent) => extent !== 1);
}

/**
 * The moments of many batches: count, mean and squared deviations of every
 * channel, and with them whatever is needed to go on training.
 *
 * Batches may be split, ordered and merged in any way: the mean and the
 * variance come out the same, to 1e-12 of themselves also where the mean is a
 * million times the deviation. Merging is that of Chan, Golub and LeVeque
 * ({@linkcode mergeMoments}), on means of twice the digits of a float64.
 *
 * A state that was made with a layer and its optimizer saves both with it, as
 * they are at that moment: configuration, weights, and the optimizer's own
 * memory. Training goes on from there with the same bits. What is not saved is
 * `autocast` and the choice of kernels, which change no number.
 *
 * @example Adapt the moving statistics of a loaded layer to new data
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { BatchNormalization, tensor, TrainingState } from "@evenkeel/evenkeel";
 *
 * // A layer as Keras saved it, from data with mean 0 and deviation 1.
 * const layer = BatchNormalization.fromConfig({ name: "bn", axis: [1], epsilon: 1e-7 });
 * layer.setWeights([
 *   tensor([1], [1]), // gamma
 *   tensor([0], [1]), // beta
 *   tensor([0], [1]), // moving mean
 *   tensor([1], [1]), // moving variance
 * ]);
 *
 * // New data is elsewhere: batches with mean 5 and deviation 2.
 * const batches = [[3, 7, 3, 7], [7, 3], [3, 7]].map((v) => tensor(v, [v.length, 1]));
 * const outputs = () => {
 *   const y = new TrainingState();
 *   for (const batch of batches) y.add(layer.call(batch));
 *   return { mean: y.mean[0]!, deviation: Math.sqrt(y.variance[0]!) };
 * };
 *
 * const before = outputs();
 * assertAlmostEquals(before.mean, 5, 1e-5);
 * assertAlmostEquals(before.deviation, 2, 1e-5);
 *
 * const state = new TrainingState({ layer });
 * for (const batch of batches) state.add(batch);
 * state.applyTo(layer);
 *
 * const after = outputs();
 * assertAlmostEquals(after.mean, 0, 1e-5);
 * assertAlmostEquals(after.deviation, 1, 1e-5);
 * ```
 *
 * @example Measure in two places and merge
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tensor, TrainingState } from "@evenkeel/evenkeel";
 *
 * const here = new TrainingState();
 * here.add(tensor([1, 10, 3, 30], [2, 2]));
 * const there = new TrainingState();
 * there.add(tensor([5, 50], [1, 2]));
 *
 * const both = here.merge(TrainingState.fromBytes(there.toBytes()));
 * assertEquals(both.count, 3);
 * assertEquals([...both.mean], [3, 30]);
 * ```
 *
 * @example Stop training and go on elsewhere
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Adam, BatchNormalization, tensor, TrainingState, trainStep } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization();
 * const optimizer = new Adam();
 * const x = tensor([1, 2, 3, 4], [4, 1]);
 * trainStep(layer, x, { optimizer, gradient: x });
 * const text = JSON.stringify(new TrainingState({ layer, optimizer }));
 *
 * const saved = TrainingState.fromJSON(text);
 * trainStep(saved.layer!, x, { optimizer: saved.optimizer!, gradient: x });
 * trainStep(layer, x, { optimizer, gradient: x });
 * assertEquals(saved.layer!.getWeights(), layer.getWeights());
 * ```
 */
export class TrainingState {
  /** The layer that is trained; one of its own after loading. */
  readonly layer: BatchNormalization | undefined;
  /** Its optimizer; one of its own after loading. */
  readonly optimizer: Optimizer | undefined;
  /** The axis, or axes, that keep their own statistics. */
  readonly axis: Axis;
  #extents: readonly number[] | undefined;
  #moments: WideMoments | undefined;

  /**
   * Makes a state without data.
   *
   * @param options The axis; layer and optimizer to save with the state.
   *
   * @throws {OptionError} If the axis is no integer or list of integers.
   */
  constructor(options: TrainingStateOptions = {}) {
    this.layer = options.layer;
    this.optimizer = options.optimizer;
    // Keras 3 takes no list, but moments do not ask who wrote the axis.
    this.axis = checkAxis(
      options.axis ?? options.layer?.options.axis ?? -1,
      "2.4",
    );
  }

  /** The number of elements behind the statistics of each channel. */
  get count(): number {
    return this.#moments?.count ?? 0;
  }

  /**
   * The extents of the kept axes, ascending by axis; undefined before the
   * first batch.
   */
  get shape(): readonly number[] | undefined {
    return this.#extents && [...this.#extents];
  }

  /**
   * The mean of each channel, as a copy; NaN without elements, and empty
   * before the first batch.
   */
  get mean(): Float64Array {
    const { count } = this;
    return this.#moments?.mean.map((mean) => count === 0 ? NaN : mean) ??
      new Float64Array();
  }

  /**
   * The population variance of each channel, as a copy; NaN without elements,
   * and empty before the first batch.
   */
  get variance(): Float64Array {
    const { count } = this;
    return this.#moments?.m2.map((m2) => m2 / count) ?? new Float64Array();
  }

  /**
   * Takes a batch in.
   *
   * @param x The batch, of any rank and element type; an empty one changes
   * nothing but may fix the channels.
   *
   * @throws {ShapeError} If the axes are not in its rank, or it has other
   * channels than the first batch; then nothing is changed.
   * @throws {OptionError} If the tensor is malformed.
   * @throws {UnsupportedError} If the chosen kernels cannot start.
   */
  add(x: Tensor): void {
    checkTensor(x, "a batch of a training state");
    const axes = this.#axesFor(x);
    const extents = axes.map((axis) => x.dims[axis]!);
    this.#checkExtents(extents, "add a batch");
    const layout = layoutOf(x.dims, axes);
    const own = this.#moments ?? emptyMoments(layout.channels);
    this.#moments = layout.reduced === 0 ? own : mergeWideMoments(
      own,
      measureMoments(
        resolveKernels(this.layer?.options.kernels),
        x,
        layout,
      ),
    );
    this.#extents = extents;
  }

  #axesFor({ dims }: Tensor): number[] {
    try {
      return resolveAxes(this.axis, dims.length, "");
    } catch (error) {
      throw new ShapeError(
        `Cannot add a batch of shape [${
          dims.join(", ")
        }] to a training state of axis ${
          JSON.stringify(this.axis)
        }: expected axes of its rank, none of them twice`,
        { cause: error },
      );
    }
  }

  #checkExtents(extents: readonly number[], what: string): void {
    if (!this.#extents || sameDims(this.#extents, extents)) return;
    throw new ShapeError(
      `Cannot ${what}: expected the training state's channels [${
        this.#extents.join(", ")
      }], got [${extents.join(", ")}]`,
    );
  }

  /**
   * The state of this one's data and another's together.
   *
   * Associative and commutative up to rounding. Axis, layer and optimizer are
   * this one's; a layer or optimizer that it has not is the other's.
   *
   * @param other The other state, of the same channels.
   * @returns A new state; the two stay as they are.
   *
   * @throws {ShapeError} If the channels differ.
   * @throws {OptionError} If `other` is no state.
   */
  merge(other: TrainingState): TrainingState {
    if (!(other instanceof TrainingState)) {
      throw new OptionError(
        "Cannot merge: expected a TrainingState, such as TrainingState.fromJSON makes",
      );
    }
    if (other.#extents) this.#checkExtents(other.#extents, "merge states");
    return TrainingState.#of({
      axis: this.axis,
      shape: this.#extents ?? other.#extents,
      moments: this.#moments && other.#moments
        ? mergeWideMoments(this.#moments, other.#moments)
        : this.#moments ?? other.#moments,
      layer: this.layer ?? other.layer,
      optimizer: this.optimizer ?? other.optimizer,
    });
  }

  /**
   * Gives a layer these statistics in the place of its moving averages.
   *
   * With batch renormalization also `movingStddev` and `renormStddev` become
   * `sqrt(variance + epsilon)` and `renormMean` the mean, which is what
   * training on this data for ever would lead to.
   *
   * @param layer The layer; it has weights and as many channels.
   * @param options Which variance.
   *
   * @throws {ShapeError} If the layer has no weights yet, or other channels.
   * @throws {OptionError} If there is no data, or its statistics are not
   * finite. After any error, the layer is as it was.
   */
  applyTo(layer: BatchNormalization, options: ApplyOptions = {}): void {
    const { movingMean, movingVariance, effectiveEpsilon } = layer;
    const what = `apply a training state to layer "${layer.name}"`;
    const { mean, variance } = this.#statistics(what, options.unbiased);
    if (!sameDims(essential(this.#extents!), essential(movingMean.dims))) {
      throw new ShapeError(
        `Cannot ${what}: expected channels of shape [${
          movingMean.dims.join(", ")
        }], got [${this.#extents!.join(", ")}]`,
      );
    }
    const deviation = variance.map((v) => Math.sqrt(v + effectiveEpsilon));
    const write = (weight: Tensor | undefined, values: Float64Array) => {
      if (weight) encodeInto(weight.type, weight.data, values);
    };
    write(movingMean, mean);
    write(movingVariance, variance);
    write(layer.movingStddev, deviation);
    write(layer.renormMean, mean);
    write(layer.renormStddev, deviation);
  }

  /** Mean and variance of the data, finite. */
  #statistics(
    what: string,
    unbiased = false,
  ): { mean: Float64Array; variance: Float64Array } {
    const { count } = this;
    if (!this.#moments || count === 0) {
      throw new OptionError(
        `Cannot ${what}: it holds no data, add a batch first`,
      );
    }
    const { mean } = this;
    // As Keras' fused path, which leaves a single element alone.
    const divisor = unbiased ? Math.max(count - 1, 1) : count;
    const variance = this.#moments.m2.map((m2) => m2 / divisor);
    const bad = mean.findIndex((m, c) => !Number.isFinite(m + variance[c]!));
    if (bad >= 0) {
      throw new OptionError(
        `Cannot ${what}: channel ${bad} has mean ${mean[bad]} and variance ${
          variance[bad]
        }, from data with NaN or infinity`,
      );
    }
    return { mean, variance };
  }

  /**
   * The state as plain JSON, with a version and a CRC-32; float64 values are
   * exact. `JSON.stringify` calls it.
   *
   * @returns What {@linkcode TrainingState.fromJSON} reads.
   *
   * @throws {UnsupportedError} If layer or optimizer cannot be loaded again:
   * an adjustment, or a regularizer, constraint or optimizer of the user's.
   */
  toJSON(): JsonObject {
    return encodeJson(saveState(this.#contents()));
  }

  /**
   * The state as bytes, with a version and a CRC-32; the same on every
   * machine.
   *
   * @returns What {@linkcode TrainingState.fromBytes} reads.
   *
   * @throws {UnsupportedError} If layer or optimizer cannot be loaded again:
   * an adjustment, or a regularizer, constraint or optimizer of the user's.
   */
  toBytes(): Uint8Array {
    return encodeBytes(saveState(this.#contents()));
  }

  /**
   * Reads what {@linkcode TrainingState.toJSON} gave.
   *
   * @param json The object, or its text.
   * @returns The state, with a layer and an optimizer of its own.
   *
   * @throws {FormatError} If it is damaged, newer or something else.
   */
  static fromJSON(json: unknown): TrainingState {
    return TrainingState.#of(loadState(decodeJson(json)));
  }

  /**
   * Reads what {@linkcode TrainingState.toBytes} gave.
   *
   * @param bytes The bytes.
   * @returns The state, with a layer and an optimizer of its own.
   *
   * @throws {FormatError} If they are damaged, newer or something else.
   */
  static fromBytes(bytes: Uint8Array): TrainingState {
    return TrainingState.#of(loadState(decodeBytes(bytes)));
  }

  /**
   * Writes the state's layer as an ONNX model, which carries the whole state:
   * {@linkcode TrainingState.fromOnnx} reads it back, and training goes on
   * with the same bits.
   *
   * The option `graph` says which: the layer in `"inference"` (default); a
   * step of its `"training"`, with the new statistics as outputs; its
   * `"gradient"`; or inference with `"training-info"`, ONNX' own form of
   * training, which goes on from the velocities of the state's SGD.
   *
   * @param options Which graph, the input's shape, and the options of
   * `buildOnnx`, `buildOnnxGradient` or `buildOnnxTraining`.
   * @returns The bytes of the ONNX file.
   *
   * @throws {OptionError} If the state has no layer, or an option is not
   * allowed.
   * @throws {ShapeError} If the layer cannot have that input.
   * @throws {UnsupportedError} If the layer, or the optimizer for
   * `"training-info"`, cannot be written.
   *
   * @example There and back
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, SGD, tensor, TrainingState, trainStep } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization();
   * const optimizer = new SGD({ momentum: 0.9 });
   * const x = tensor([1, 2, 3, 4], [4, 1]);
   * trainStep(layer, x, { optimizer, gradient: x });
   * const state = new TrainingState({ layer, optimizer });
   * const model = state.toOnnx({ graph: "training-info", inputShape: [null, 1] });
   *
   * const read = TrainingState.fromOnnx(model);
   * trainStep(read.layer!, x, { optimizer: read.optimizer!, gradient: x });
   * trainStep(layer, x, { optimizer, gradient: x });
   * assertEquals(read.layer!.getWeights(), layer.getWeights());
   * ```
   */
  toOnnx(options: StateOnnxOptions): Uint8Array<ArrayBuffer> {
    const { layer, optimizer } = this;
    return stateToOnnx(layer, optimizer, () => this.toBytes(), options);
  }

  /**
   * Reads what {@linkcode TrainingState.toOnnx} gave. Of a model with training
   * information, what a trainer changed since counts: the layer's variables,
   * velocities and the learning rate.
   *
   * @param model The ONNX file.
   * @returns The state, with a layer and an optimizer of its own.
   *
   * @throws {FormatError} If it is no ONNX model, or carries no state.
   */
  static fromOnnx(model: Uint8Array): TrainingState {
    const state = TrainingState.fromBytes(stateInOnnx(model));
    adoptVariables(model, state.layer, state.optimizer);
    return state;
  }

  /**
   * Writes statistics into a BatchNormalization of an existing ONNX model.
   *
   * From the state's data, its mean and variance; from its layer, also gamma,
   * beta and epsilon. Everything else in the file stays as it is, as with
   * `OnnxModel.update`.
   *
   * @param model The ONNX file.
   * @param node The name of the BatchNormalization.
   * @param options From what, by default the data if there is any; and which
   * variance.
   * @returns The new file.
   *
   * @throws {OptionError} If the state has neither data nor a layer, its
   * statistics are not finite, or there is no such node.
   * @throws {ShapeError} If the node has another number of channels.
   * @throws {UnsupportedError} If the node's statistics are no constants.
   *
   * @example Usage
   * ```ts
   * import { assertEquals } from "@std/assert";
   * import { BatchNormalization, buildOnnx, openOnnx, tensor, TrainingState } from "@evenkeel/evenkeel";
   *
   * const layer = new BatchNormalization({ name: "bn" });
   * const model = buildOnnx(layer, { inputShape: [null, 1] });
   * const state = new TrainingState();
   * state.add(tensor([1, 3], [2, 1]));
   * const [bn] = openOnnx(state.updateOnnx(model, "bn")).batchNormalizations;
   * assertEquals([...bn!.mean!.data], [2]);
   * ```
   */
  updateOnnx(
    model: Uint8Array,
    node: string,
    options: UpdateOnnxOptions = {},
  ): Uint8Array<ArrayBuffer> {
    const { from = this.count > 0 ? "data" : "layer", unbiased } = options;
    const { externalData } = options;
    const opened = openOnnx(model, externalData ? { externalData } : {});
    if (from === "data") {
      const { mean, variance } = this.#statistics(
        "write a training state",
        unbiased,
      );
      return opened.update({ [node]: { mean, variance } });
    }
    return opened.update({ [node]: updateFromLayer(this.layer) });
  }

  #contents(): StateContents {
    return {
      axis: this.axis,
      shape: this.#extents,
      moments: this.#moments,
      layer: this.layer,
      optimizer: this.optimizer,
    };
  }

  static #of(contents: StateContents): TrainingState {
    const { axis, shape, moments, layer, optimizer } = contents;
    const state = new TrainingState({
      axis,
      ...(layer ? { layer } : {}),
      ...(optimizer ? { optimizer } : {}),
    });
    state.#extents = shape;
    state.#moments = moments;
    return state;
  }
}

function emptyMoments(channels: number): WideMoments {
  const zeros = () => new Float64Array(channels);
  return { count: 0, mean: zeros(), low: zeros(), m2: zeros() };
}
