/**
 * The interface that every kernel implementation fulfils.
 *
 * @module
 */

import type { ElementType, TensorData } from "../tensor.ts";
import type { Layout } from "./layout.ts";

/** The names of the kernel implementations. */
export type KernelName = "typed-array" | "wasm";

/**
 * What a kernel computes in, and what its parameters are given in: float64
 * for float64 tensors, float32 for all others.
 */
export type Parameters = Float32Array | Float64Array;

/** A piece of the memory that kernels run in. */
export interface Allocation {
  /** The memory's buffer, which is never detached. */
  readonly buffer: ArrayBuffer;
  /** Where the piece begins, in bytes. */
  readonly byteOffset: number;
  /** Gives the piece back; may be called once only. */
  release(): void;
}

/** An implementation of the arithmetic over whole tensors. */
export interface Kernels {
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
   * Takes zeroed bytes of the kernels' own memory, on which they run without a
   * copy; missing where ordinary arrays are no worse.
   *
   * @param bytes How many.
   * @returns The piece; undefined where the runtime has no memory for it.
   */
  allocate?(bytes: number): Allocation | undefined;
}
