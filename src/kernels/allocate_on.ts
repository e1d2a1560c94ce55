/**
 * Tensors in the memory of some kernels.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import {
  bytesPerElement,
  createData,
  elementCount,
  type ElementType,
  isElementType,
  type Tensor,
  type TensorData,
} from "../tensor.ts";
import type { InferenceKernels } from "./types.ts";

const VIEWS: Readonly<
  Record<
    ElementType,
    new (
      buffer: ArrayBufferLike,
      byteOffset: number,
      length: number,
    ) => TensorData
  >
> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
};

/**
 * Makes a zeroed tensor; see `allocate.ts`.
 *
 * @param resolve Gives the kernels, once the arguments are checked.
 * @param dims The extents, outermost first.
 * @param type The element type.
 *
 * @throws {ShapeError} If an extent is not a non-negative integer.
 * @throws {OptionError} If the type is unknown; by `data`, if the tensor was
 * disposed of.
 * @throws {RangeError} If there is no memory for it.
 */
export function allocateOn(
  resolve: () => InferenceKernels,
  dims: readonly number[],
  type: ElementType,
): Tensor & Disposable {
  if (!isElementType(type)) {
    throw new OptionError(
      `Cannot allocate a tensor of type "${type}": expected ${
        Object.keys(VIEWS).map((name) => `"${name}"`).join(", ")
      }`,
    );
  }
  const length = elementCount(dims);
  const kernels = resolve();
  const allocation = length > 0
    ? kernels.allocate?.(length * bytesPerElement(type))
    : undefined;
  let data: TensorData | undefined = allocation === undefined
    ? createData(type, length)
    : new VIEWS[type](allocation.buffer, allocation.byteOffset, length);
  return {
    type,
    dims: [...dims],
    get data(): TensorData {
      if (data === undefined) {
        throw new OptionError(
          `Cannot use a disposed tensor: its memory may hold another one by now. Read it, or copy it, before it is disposed of`,
        );
      }
      return data;
    },
    [Symbol.dispose](): void {
      if (data === undefined) return;
      data = undefined;
      allocation?.release();
    },
  };
}
