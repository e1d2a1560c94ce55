/**
 * Tensors in the kernels' own memory.
 *
 * @module
 */

import type { ElementType, Tensor } from "../tensor.ts";
import { allocateOn } from "./allocate_on.ts";
import { resolveKernels } from "./dispatch.ts";

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
  return allocateOn(resolveKernels, dims, type);
}
