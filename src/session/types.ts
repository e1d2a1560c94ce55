/**
 * What goes into a session and comes out of it.
 *
 * @module
 */

import type { KernelChoice } from "../kernels/dispatch.ts";
import type { OnnxData, OnnxType } from "../onnx/element_types.ts";
import type { ExternalDataSource } from "../onnx/external_data.ts";

/**
 * A tensor of a session: onnxruntime's `Tensor` satisfies it, and so does
 * Evenkeel's. 64-bit integers are in `BigInt64Array` and `BigUint64Array`,
 * `bool` is 0 and 1 in a `Uint8Array`, 16-bit floats are bits in a
 * `Uint16Array` or, for float16, a `Float16Array`.
 */
export interface SessionTensor {
  /** The element type, as onnxruntime spells it. */
  readonly type: OnnxType;
  /** The extents, outermost first. */
  readonly dims: readonly number[];
  /** The elements in row-major order. */
  readonly data: OnnxData | Float16Array;
}

/** An output: 16-bit floats as bits. */
export interface SessionOutput extends SessionTensor {
  /** The extents, outermost first; the caller's own. */
  readonly dims: number[];
  /** The elements; the caller's own, or the array of `fetches`. */
  readonly data: OnnxData;
}

/** What a model says of an input or output. */
export interface ValueMetadata {
  /** The name. */
  readonly name: string;
  /** Always true: the session has tensors only. */
  readonly isTensor: true;
  /** The element type; undefined for an output of which the model does not tell it. */
  readonly type: OnnxType | undefined;
  /** Numbers, and names of extents that vary; undefined without a rank. */
  readonly shape: readonly (number | string)[] | undefined;
}

/** The options of `createSession`. */
export interface SessionOptions {
  /** The kernels that operators run on; by default those of `setKernels`. */
  readonly kernels?: KernelChoice;
  /** The files of elements that the model keeps outside of its own. */
  readonly externalData?: ExternalDataSource;
}

/** Names of outputs, or arrays to compute outputs into (null for new ones). */
export type Fetches =
  | readonly string[]
  | Readonly<Record<string, SessionTensor | null>>;
