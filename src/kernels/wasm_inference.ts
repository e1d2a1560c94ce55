/**
 * Inference on the WASM SIMD kernels.
 *
 * Ordinary arrays pass through a staging area of 64 KB, so that a tensor of
 * any size needs no more WASM memory than that; tensors that were allocated in
 * WASM memory are computed where they are.
 *
 * @module
 */

import type { ElementType, TensorData } from "../tensor.ts";
import { foldStatistics, type Statistics } from "./coefficients.ts";
import type { Layout } from "./layout.ts";
import type { Allocation, InferenceKernels, Parameters } from "./types.ts";
import { ArenaAllocator, instanceOf } from "./wasm_arena.ts";
import { INFERENCE_HEX } from "./wasm_inference_binary.ts";
import { WasmInstance } from "./wasm_instance.ts";
import {
  checkModule,
  compileEmbedded,
  INFERENCE_EXPORTS,
  type ModuleForm,
} from "./wasm_module.ts";

/**
 * Fewer channels are folded sooner in TypeScript, where they are (measured:
 * 0.21 against 0.28 microseconds for 16, but 0.75 against 0.34 for 32).
 */
const CHANNELS_TO_FOLD = 32;

/** The module that has inference only. */
export const INFERENCE_FORM: ModuleForm = {
  file: "kernels/inference.wasm",
  embedded: INFERENCE_HEX,
  exports: INFERENCE_EXPORTS,
};

/** The WASM implementation of inference. */
export interface WasmInference extends InferenceKernels {
  readonly name: "wasm";
  /** The instance that ordinary arrays pass through. */
  readonly staging: WasmInstance;
  /** Its memory, in bytes; never grows. */
  readonly memoryBytes: number;
  allocate(bytes: number): Allocation | undefined;
}

/**
 * Starts the WASM kernels, synchronously and without any permission.
 *
 * @param module The compiled module, for runtimes that refuse to compile from
 * bytes. By default the embedded bytes are compiled.
 * @param form What the module has to be.
 *
 * @throws {OptionError} If `module` is another module.
 * @throws {UnsupportedError} If the runtime cannot start it.
 */
export function createWasmInference(
  module?: WebAssembly.Module,
  form: ModuleForm = INFERENCE_FORM,
): WasmInference {
  if (module !== undefined) checkModule(module, form);
  const compiled = module ?? compileEmbedded(form);
  const staging = new WasmInstance(compiled, 0);
  const allocator = new ArenaAllocator(compiled);
  return {
    name: "wasm",
    staging,
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
    fold(a: Parameters, b: Parameters, statistics: Statistics): void {
      if (a instanceof Float32Array && a.length >= CHANNELS_TO_FOLD) {
        staging.fold(a, b, statistics);
      } else foldStatistics(a, b, statistics);
    },
  };
}
