/**
 * The WASM SIMD kernels: the arithmetic of `kernels/*.ts`, bit for bit that of
 * the typed-array kernels.
 *
 * Training and sessions go through memory as inference does
 * (`wasm_inference.ts`); a second input passes through a second staging area.
 *
 * @module
 */

import { clampFloat32 } from "./clamp_loops.ts";
import { FEW } from "./float32_bits.ts";
import type { BindPieces } from "./pieces.ts";
import { createTrainingKernels } from "./training.ts";
import type { Kernels, SessionKernels } from "./types.ts";
import { instanceOf } from "./wasm_arena.ts";
import { WASM_HEX } from "./wasm_binary.ts";
import { ELEMENTWISE_EXPORTS, WasmElementwise } from "./wasm_elementwise.ts";
import { createWasmInference, type WasmInference } from "./wasm_inference.ts";
import type { WasmInstance } from "./wasm_instance.ts";
import {
  CLAMPED_EXPORT,
  INFERENCE_EXPORTS,
  type ModuleForm,
} from "./wasm_module.ts";
import { bindWasmPieces, PIECE_EXPORTS } from "./wasm_pieces.ts";

/** The module that has everything. */
export const FULL_FORM: ModuleForm = {
  file: "kernels/evenkeel.wasm",
  embedded: WASM_HEX,
  exports: [
    ...INFERENCE_EXPORTS,
    CLAMPED_EXPORT,
    ...PIECE_EXPORTS,
    ...ELEMENTWISE_EXPORTS,
  ],
};

/** The WASM implementation of the kernels. */
export type WasmKernels = WasmInference & Kernels & {
  /** What training runs on. */
  readonly bindPieces: BindPieces;
};

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
  const inference = createWasmInference(module, FULL_FORM);
  const bindPieces: BindPieces = (operation, type, arrays) => {
    const { x, dy, output } = arrays;
    const instance = fullInstanceOf(output) ?? fullInstanceOf(dy) ??
      fullInstanceOf(x) ?? inference.staging;
    return bindWasmPieces(instance, operation, type, arrays);
  };
  return {
    ...inference,
    ...createTrainingKernels(bindPieces),
    ...sessionKernels(inference.staging),
    bindPieces,
  };
}

/**
 * The arena that an array lies in. What `inference.ts` allocated lies in an
 * instance with nothing but inference, and is an ordinary array here.
 */
function fullInstanceOf(
  array: { readonly buffer: ArrayBufferLike } | undefined,
): WasmInstance | undefined {
  const instance = array && instanceOf(array.buffer);
  return instance?.exports.isFull ? instance : undefined;
}

// What leaves elements as they are, before they are bounded.
const ONE = Float32Array.of(1);
const MINUS_ZERO = Float32Array.of(-0);

function sessionKernels(staging: WasmInstance): SessionKernels {
  const kernels: SessionKernels = {
    affineClamped(layout, x, y, a, b, bounds) {
      const instance = fullInstanceOf(y) ?? fullInstanceOf(x) ?? staging;
      instance.affine("float32", layout, x, y, a, b, bounds);
    },
    clamp(x, y, bounds) {
      if (y.length <= FEW) return clampFloat32(x, y, bounds);
      const plane = {
        extents: [1, 1, y.length],
        channels: 1,
        reduced: y.length,
      };
      kernels.affineClamped(plane, x, y, ONE, MINUS_ZERO, bounds);
    },
    elementwise: new WasmElementwise(staging, fullInstanceOf),
  };
  return kernels;
}
