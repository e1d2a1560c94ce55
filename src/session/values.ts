/**
 * What is known of a value before a model runs, and what its extents allow.
 *
 * @module
 */

import { ShapeError, UnsupportedError } from "../errors.ts";
import {
  elementTypeNamed,
  type OnnxData,
  type OnnxType,
} from "../onnx/element_types.ts";

/** A value of a graph, as a plan knows it: its elements if they are constant. */
export interface Spec {
  readonly type: OnnxType;
  readonly dims: readonly number[];
  /** The elements, where they are the same in every run of the plan. */
  readonly value?: OnnxData | undefined;
}

/**
 * The most bytes that one value may have: 2 GB, as everywhere in ONNX. A
 * model of a few bytes can ask for more with one Expand.
 */
export const MAX_BYTES = 2 ** 31;

/**
 * The number of elements of a shape that a model computed.
 *
 * @throws {ShapeError} If an extent is negative.
 */
export function countOf(dims: readonly number[]): number {
  let count = 1;
  for (const extent of dims) {
    if (!(extent >= 0)) {
      throw new ShapeError(`the extents [${dims.join(", ")}] are negative`);
    }
    count *= extent;
  }
  return count;
}

/**
 * The number of elements of a value that is about to be computed.
 *
 * @throws {ShapeError} If an extent is negative.
 * @throws {UnsupportedError} If it has more bytes than {@linkcode MAX_BYTES}.
 */
export function checkSize(type: OnnxType, dims: readonly number[]): number {
  const count = countOf(dims);
  const bytes = count * elementTypeNamed(type).Data.BYTES_PER_ELEMENT;
  if (!(bytes < MAX_BYTES)) {
    throw new UnsupportedError(
      `expected values below 2 GB, got [${
        dims.join(", ")
      }] of ${type}, which is ${bytes} bytes`,
    );
  }
  return count;
}

/**
 * A zeroed array for a value.
 *
 * It costs what the system takes for giving its pages, when they are touched
 * first: copying 2 to 25 MB into a new array takes 1.5 to 1.7 times as long as
 * into one that is there, 50 KB five times, where zeros and the collector count
 * too; the least is half a microsecond. A copy by `slice` or by the constructor
 * and a view of a new buffer take as long.
 *
 * @throws {UnsupportedError} If there is no memory for it.
 */
export function createArray(type: OnnxType, count: number): OnnxData {
  if (type === "float32" && count < SMALL) return new Float32Array(count);
  const { Data } = elementTypeNamed(type);
  return orNoMemory(() => new Data(count), count * Data.BYTES_PER_ELEMENT);
}

/** Below it, a run is so short that a closure counts. */
const SMALL = 2 ** 16;

/** What allocates, with an error of ours where the engine has no memory. */
export function orNoMemory<T>(allocate: () => T, bytes: number): T {
  try {
    return allocate();
  } catch (cause) {
    throw new UnsupportedError(`there is no memory for ${bytes} bytes`, {
      cause,
    });
  }
}

/** Whether elements are 64-bit integers, which JavaScript has as bigint. */
export function isWide(
  data: OnnxData,
): data is BigInt64Array | BigUint64Array {
  return data instanceof BigInt64Array || data instanceof BigUint64Array;
}

/** Whether a type is one of the floating-point types. */
export function isFloat(type: OnnxType): boolean {
  return type === "float32" || type === "float64" || isHalf(type);
}

/** Whether a type is one of the 16-bit floating-point types. */
export function isHalf(type: OnnxType): type is "float16" | "bfloat16" {
  return type === "float16" || type === "bfloat16";
}
