/**
 * Which kernels run inference, where nothing but inference is imported.
 *
 * @module
 */

import type { ElementType, Tensor } from "../tensor.ts";
import { allocateOn } from "./allocate_on.ts";
import {
  type KernelChoice,
  KernelDispatcher,
  type SetKernelsOptions,
} from "./dispatcher.ts";
import { typedArrayInference } from "./typed_array_inference.ts";
import type { InferenceKernels } from "./types.ts";
import { createWasmInference, INFERENCE_FORM } from "./wasm_inference.ts";

const dispatcher = new KernelDispatcher<InferenceKernels>([
  { name: "wasm", start: (module) => createWasmInference(module) },
  { name: "typed-array", start: () => typedArrayInference },
], INFERENCE_FORM);

/**
 * Chooses the kernels of inference; the entry with everything has a choice of
 * its own.
 *
 * All kernels give the same bits. "auto", the state at the start, is WASM SIMD
 * where it starts and typed arrays elsewhere, found out at the first use and
 * told to `onFallback`.
 *
 * @param choice "auto", "typed-array", or "wasm", which fails here and now
 * where it cannot start.
 * @param options The compiled `kernels/inference.wasm`, for runtimes that
 * refuse WASM from bytes, and who is told where WASM does not start.
 *
 * @throws {OptionError} If the choice or an option is unknown, or `module` is not a
 * `WebAssembly.Module` of `kernels/inference.wasm`.
 * @throws {UnsupportedError} If "wasm" cannot start in this runtime. The
 * earlier choice then stays.
 *
 * @example Usage
 * ```ts
 * import { setKernels } from "@evenkeel/evenkeel/inference";
 *
 * setKernels("typed-array"); // no WASM at all
 * setKernels("auto"); // back to the default
 * ```
 */
export function setKernels(
  choice: KernelChoice,
  options?: SetKernelsOptions,
): void {
  dispatcher.set(choice, options);
}

/**
 * The kernels to run with, started if they were not yet.
 *
 * @param choice A layer's own choice; by default that of
 * {@linkcode setKernels}.
 *
 * @throws {OptionError} If the choice is unknown.
 * @throws {UnsupportedError} If the choice names kernels that cannot start.
 */
export function resolveKernels(choice?: KernelChoice): InferenceKernels {
  return dispatcher.resolve(choice);
}

/**
 * Makes a zeroed tensor in WASM memory, on which kernels run without a copy.
 *
 * `data` is a view over WASM memory and stays valid until the tensor is
 * disposed of. Where the kernels are typed arrays, or WASM memory is
 * exhausted, the tensor is an ordinary array, and all else is the same.
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
 * import { allocate } from "@evenkeel/evenkeel/inference";
 *
 * using x = allocate([2, 3]);
 * assertEquals(x.data, new Float32Array(6));
 * ```
 */
export function allocate(
  dims: readonly number[],
  type: ElementType = "float32",
): Tensor & Disposable {
  return allocateOn(resolveKernels, dims, type);
}
