/**
 * The WASM SIMD kernels: the arithmetic of `kernels/*.ts`, bit for bit that of
 * the typed-array kernels.
 *
 * Ordinary arrays pass through a staging area of 64 KB (in training, a second
 * input through another one), so that a tensor of any size needs no more WASM
 * memory than that; tensors that were allocated in WASM memory are computed
 * where they are.
 *
 * @module
 */

import type { ElementType, TensorData } from "../tensor.ts";
import type { Layout } from "./layout.ts";
import { createTrainingKernels } from "./training.ts";
import type { Allocation, Kernels, Parameters } from "./types.ts";
import { ArenaAllocator, instanceOf } from "./wasm_arena.ts";
import { WasmInstance } from "./wasm_instance.ts";
import { checkModule, compileEmbedded } from "./wasm_module.ts";
import { bindWasmPieces } from "./wasm_pieces.ts";

/** The WASM implementation of the kernels. */
export interface WasmKernels extends Kernels {
  readonly name: "wasm";
  /** The memory that ordinary arrays pass through, in bytes; never grows. */
  readonly memoryBytes: number;
  allocate(bytes: number): Allocation | undefined;
}

/**
 * Starts the WASM kernels, synchronously and without any permission.
 *
 * @param module The compiled `kernels/evenkeel.wasm`, for runtimes that refuse
 * to compile from bytes. By default the embedded bytes are compiled.
 *
 * @throws {OptionError} If `module` is another module.
 * @throws {UnsupportedError} If the runtime cannot start it.
 */
export function createWasmKernels(module?: WebAssembly.Module): WasmKernels {
  if (module !== undefined) checkModule(module);
  const compiled = module ?? compileEmbedded();
  const staging = new WasmInstance(compiled, 0);
  const allocator = new ArenaAllocator(compiled);
  return {
    ...createTrainingKernels((operation, type, arrays) => {
      const { x, dy, output } = arrays;
      const instance = (output && instanceOf(output.buffer)) ??
        (dy && instanceOf(dy.buffer)) ?? instanceOf(x.buffer) ?? staging;
      return bindWasmPieces(instance, operation, type, arrays);
    }),
    name: "wasm",
    memoryBytes: staging.buffer.byteLength,
    allocate: (bytes) => allocator.allocate(bytes),
    affine(
      type: ElementType,
      layout: Layout,
      x: TensorData,
      y: TensorData,
      a: Parameters,
      b: Parameters,
    ): void {
      // In the arena of the output nothing is copied out; in that of the
      // input, nothing in.
      const instance = instanceOf(y.buffer) ?? instanceOf(x.buffer) ?? staging;
      instance.affine(type, layout, x, y, a, b);
    },
  };
}
