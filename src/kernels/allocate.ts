/**
 * Tensors in the kernels' own memory.
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
import { resolveKernels } from "./dispatch.ts";

const VIEWS: Readonly<
  Record<
    ElementType,
    new (buffer: ArrayBuffer, byteOffset: number, length: number) => TensorData
  >
> = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
};

/**
 * Makes a zeroed tensor in WASM memory, on which kernels run without a copy.
 *
 * No copy at all is made where input and output are both allocated, or the
 * output is the input. `data` is a view over WASM memory and stays valid until
 * the tensor is disposed of; a `subarray` of it works as well. 16-bit types
 * are bit patterns in a `Uint16Array`.
 *
 * Disposing gives the memory back for the next `allocate`; doing so twice is
 * harmless. `data` of a disposed tensor throws, and an array that was taken
 * from it before must not be used any more, as another tensor may be there. A
 * tensor that nobody disposes of is freed when it and its neighbours in
 * memory are garbage.
 *
 * Where the kernels are typed arrays, or WASM memory is exhausted, the tensor
 * is an ordinary array, and all else is the same.
 *
 * @param dims The extents, outermost first.
 * @param type The element type, float32 by default.
 * @returns The tensor; `using` disposes of it at the end of the block.
 *
 * @throws {ShapeError} If an extent is not a non-negative integer.
 * @throws {OptionError} If the type is unknown; by `data`, if the tensor was
 * disposed of.
 * @throws {RangeError} If there is no memory for it.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { allocate } from "@evenkeel/evenkeel";
 *
 * using x = allocate([2, 3]);
 * x.data.set([1, 2, 3, 4, 5, 6]);
 * assertEquals(x.data, new Float32Array([1, 2, 3, 4, 5, 6]));
 * ```
 */
export function allocate(
  dims: readonly number[],
  type: ElementType = "float32",
): Tensor & Disposable {
  if (!isElementType(type)) {
    throw new OptionError(
      `Cannot allocate a tensor of type "${type}": expected ${
        Object.keys(VIEWS).map((name) => `"${name}"`).join(", ")
      }`,
    );
  }
  const length = elementCount(dims);
  const kernels = resolveKernels();
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
