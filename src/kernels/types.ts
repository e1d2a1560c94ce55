/**
 * The interface that every kernel implementation fulfils.
 *
 * @module
 */

import type { ElementType, TensorData } from "../tensor.ts";
import type { Statistics } from "./coefficients.ts";
import type { ChannelRange, Layout } from "./layout.ts";

/** The names of the kernel implementations. */
export type KernelName = "typed-array" | "wasm";

/**
 * What a kernel computes in, and what its parameters are given in: float64
 * for float64 tensors, float32 for all others.
 */
export type Parameters = Float32Array | Float64Array;

/** A piece of the memory that kernels run in. */
export interface Allocation {
  /** The memory's buffer, which is never detached; shared by a pool's threads. */
  readonly buffer: ArrayBufferLike;
  /** Where the piece begins, in bytes. */
  readonly byteOffset: number;
  /** Gives the piece back; may be called once only. */
  release(): void;
}

/**
 * Hears of a range of channels whose results are final, while their elements
 * are still in a cache. It may run any kernel on them.
 */
export type RangeVisitor = (range: ChannelRange) => void;

/**
 * The arithmetic of training in float64, whatever the element type: elements
 * are widened exactly, every operation is rounded once, in the order that is
 * written (no fused multiply-add), and results are rounded once when they are
 * stored (16-bit types by way of float32). `mean` and the like are one value
 * per channel.
 */
export interface TrainingKernels {
  /**
   * The mean of every channel and the sum of squared deviations from it.
   *
   * The order of summation and its error bound are in `training.ts`. A channel
   * without elements gets 0 and 0.
   *
   * @param type The element type of `x`.
   * @param layout How elements map to channels.
   * @param x The input.
   * @param mean Receives the means.
   * @param m2 Receives the sums of squared deviations.
   * @param finished Hears of every range once both are there.
   */
  moments(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    mean: Float64Array,
    m2: Float64Array,
    finished?: RangeVisitor,
  ): void;

  /**
   * `y = (x - mean) * factor + summand`.
   *
   * @param type The element type of `x` and `y`.
   * @param layout How elements map to channels.
   * @param x The input.
   * @param y The output; may be `x` itself, but may not overlap it otherwise.
   * @param mean What is taken off.
   * @param factor The factors.
   * @param summand The summands.
   * @param range The channels to compute, all by default.
   */
  normalize(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    y: TensorData,
    mean: Float64Array,
    factor: Float64Array,
    summand: Float64Array,
    range?: ChannelRange,
  ): void;

  /**
   * The sums of `dy` and of `dy * (x - mean)` of every channel, in the order
   * of `training.ts`; 0 for a channel without elements.
   *
   * @param type The element type of `x` and `dy`.
   * @param layout How elements map to channels.
   * @param x The input of the forward pass.
   * @param dy The gradient by its output.
   * @param mean What is taken off `x`.
   * @param sum Receives the sums of `dy`.
   * @param product Receives the sums of `dy * (x - mean)`.
   * @param finished Hears of every range once both are there.
   */
  gradientSums(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    dy: TensorData,
    mean: Float64Array,
    sum: Float64Array,
    product: Float64Array,
    finished?: RangeVisitor,
  ): void;

  /**
   * `dx = (dy - shift - (x - mean) * slope) * factor`.
   *
   * @param type The element type of `x`, `dy` and `dx`.
   * @param layout How elements map to channels.
   * @param x The input of the forward pass.
   * @param dy The gradient by its output.
   * @param dx The output; may be `x` or `dy` itself, but may not overlap them
   * otherwise.
   * @param mean What is taken off `x`.
   * @param shift What is taken off `dy`.
   * @param slope The factors of `x - mean`.
   * @param factor The factors of all of it.
   * @param range The channels to compute, all by default.
   */
  inputGradient(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    dy: TensorData,
    dx: TensorData,
    mean: Float64Array,
    shift: Float64Array,
    slope: Float64Array,
    factor: Float64Array,
    range?: ChannelRange,
  ): void;
}

/** An implementation of the arithmetic of inference over whole tensors. */
export interface InferenceKernels {
  /** Which implementation this is. */
  readonly name: KernelName;

  /**
   * `y = x * a + b`, with one `a` and one `b` per channel.
   *
   * The product and the sum are each rounded (no fused multiply-add), in
   * float64 for float64 tensors and in float32 for all others; 16-bit types
   * are rounded once more when they are stored.
   *
   * @param type The element type of `x` and `y`.
   * @param layout How elements map to channels.
   * @param x The input.
   * @param y The output; may be `x` itself, but may not overlap it otherwise.
   * @param a One factor per channel.
   * @param b One summand per channel.
   */
  affine(
    type: ElementType,
    layout: Layout,
    x: TensorData,
    y: TensorData,
    a: Parameters,
    b: Parameters,
  ): void;

  /**
   * Does what `foldStatistics` does, with the same bits, and sooner; missing
   * where nothing is.
   *
   * @param a Receives the factors.
   * @param b Receives the summands.
   * @param statistics The layer's vectors.
   */
  fold?(a: Parameters, b: Parameters, statistics: Statistics): void;

  /**
   * Takes zeroed bytes of the kernels' own memory, on which they run without a
   * copy; missing where ordinary arrays are no worse.
   *
   * @param bytes How many.
   * @returns The piece; undefined where the runtime has no memory for it.
   */
  allocate?(bytes: number): Allocation | undefined;
}

/** What {@linkcode ElementwiseKernels} compute from one element. */
export type UnaryOperation =
  | "abs"
  | "ceil"
  | "exp"
  | "floor"
  | "log"
  | "round"
  | "sigmoid"
  | "sign"
  | "sqrt"
  | "tanh";

/**
 * What {@linkcode ElementwiseKernels} compute from two elements. Of equal ones,
 * `greater` and `lesser` take the first, and NaN where there is one; `leak` is
 * `a * b` where `a` is below 0, else `a`.
 */
export type BinaryOperation =
  | "add"
  | "divide"
  | "greater"
  | "leak"
  | "lesser"
  | "multiply"
  | "subtract";

/** An operand of {@linkcode ElementwiseKernels.binary}. */
export interface ElementwiseOperand {
  /** The array that its elements are in. */
  readonly data: Float32Array;
  /** Where its first row begins. */
  readonly start: number;
  /** How far it is from one row to the next. */
  readonly stride: number;
  /** 1, or 0 for one element for all of a row. */
  readonly step: number;
}

/**
 * Operators on float32 that compute each element by itself. The definition of
 * each is the loop that runs in its place where there are no such kernels, with
 * the same bits, but for those of NaN: any NaN stands for any other.
 */
export interface ElementwiseKernels {
  /**
   * `y = f(x)`.
   *
   * @param operation The function.
   * @param x The input.
   * @param y The output, of the same length; may be `x` itself, but may not
   * overlap it otherwise.
   */
  unary(operation: UnaryOperation, x: Float32Array, y: Float32Array): void;

  /**
   * `y = f(a, b)`, row by row.
   *
   * @param operation The function.
   * @param a The first operand.
   * @param b The second operand.
   * @param y The output, whose rows follow each other; may be an operand,
   * element for element, but may not overlap one otherwise.
   * @param yi Where the output begins.
   * @param rows How many rows.
   * @param count The elements of a row.
   */
  binary(
    operation: BinaryOperation,
    a: ElementwiseOperand,
    b: ElementwiseOperand,
    y: Float32Array,
    yi: number,
    rows: number,
    count: number,
  ): void;
}

/**
 * Bounds of elements: what is below `low` becomes `low`, then what is above
 * `high` becomes `high`. NaN and -0 stay, and a bound of NaN is none.
 */
export interface Bounds {
  /** A float32. */
  readonly low: number;
  /** A float32. */
  readonly high: number;
}

/** What sessions compute beside that, on float32. */
export interface SessionKernels {
  /**
   * Bounds elements.
   *
   * @param x The input.
   * @param y The output; may be `x` itself, but may not overlap it otherwise.
   * @param bounds The bounds.
   */
  clamp(x: Float32Array, y: Float32Array, bounds: Bounds): void;

  /**
   * {@linkcode InferenceKernels.affine} on float32, and its results bounded.
   *
   * @param layout How elements map to channels.
   * @param x The input.
   * @param y The output; may be `x` itself, but may not overlap it otherwise.
   * @param a One factor per channel.
   * @param b One summand per channel.
   * @param bounds The bounds.
   */
  affineClamped(
    layout: Layout,
    x: Float32Array,
    y: Float32Array,
    a: Float32Array,
    b: Float32Array,
    bounds: Bounds,
  ): void;

  /** Operators by element; missing where loops over arrays are no worse. */
  readonly elementwise?: ElementwiseKernels;
}

/** An implementation of all arithmetic over whole tensors. */
export interface Kernels
  extends InferenceKernels, TrainingKernels, SessionKernels {}

/** What holds kernels of its own that can be chosen: a pool of threads. */
export interface KernelSource {
  /** The kernels, which nobody but a layer needs to look into. */
  readonly kernels: object;
}
