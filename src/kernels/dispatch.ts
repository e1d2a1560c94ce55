/**
 * Which kernels run: the table of implementations and the choice among them.
 *
 * @module
 */

import {
  type KernelChoice,
  KernelDispatcher,
  type KernelEntry,
  type SetKernelsOptions,
} from "./dispatcher.ts";
import { typedArrayKernels } from "./typed_array.ts";
import type { Kernels } from "./types.ts";
import { createWasmKernels, FULL_FORM } from "./wasm.ts";

export type { KernelChoice, SetKernelsOptions } from "./dispatcher.ts";

/** All implementations, best first. Tests and benches run over this table. */
export const KERNELS: readonly KernelEntry<Kernels>[] = [
  { name: "wasm", start: createWasmKernels },
  { name: "typed-array", start: () => typedArrayKernels },
];

const dispatcher = new KernelDispatcher(KERNELS, FULL_FORM);

/**
 * Chooses the kernels of all layers that do not choose their own.
 *
 * All kernels give the same bits; the choice is about speed and about what the
 * runtime allows. "auto", the state at the start, is WASM SIMD where it
 * starts and typed arrays elsewhere, found out at the first use and told to
 * `onFallback`. Each call replaces the whole earlier choice, its options
 * included, and gives what did not start another chance.
 *
 * @param choice "auto", "typed-array", or "wasm", which fails here and now
 * where it cannot start.
 * @param options The compiled module, for runtimes that refuse WASM from bytes,
 * and who is told where WASM does not start.
 *
 * @throws {OptionError} If the choice or an option is unknown, or `module` is
 * not a `WebAssembly.Module` of `kernels/evenkeel.wasm`.
 * @throws {UnsupportedError} If "wasm" cannot start in this runtime. The
 * earlier choice then stays.
 *
 * @example Usage
 * ```ts
 * import { setKernels } from "@evenkeel/evenkeel";
 *
 * setKernels("typed-array"); // no WASM at all
 * setKernels("wasm"); // WASM, or an error that says why not
 * setKernels("auto"); // back to the default
 * setKernels("auto", { onFallback: (reason) => console.warn(reason.message) });
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
 * Cheap enough for every call; a start that failed is not tried again before
 * the next {@linkcode setKernels}.
 *
 * @param choice A layer's own choice; by default that of
 * {@linkcode setKernels}.
 *
 * @throws {OptionError} If the choice is unknown.
 * @throws {UnsupportedError} If the choice names kernels that cannot start.
 */
export function resolveKernels(choice?: KernelChoice): Kernels {
  return dispatcher.resolve(choice);
}
