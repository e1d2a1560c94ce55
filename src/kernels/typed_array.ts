/**
 * The kernels in plain TypeScript over typed arrays: they run everywhere, and
 * are the definition that the WASM kernels must match bit for bit.
 *
 * @module
 */

import { clampFloat32 } from "./clamp_loops.ts";
import { createTrainingKernels } from "./training.ts";
import { typedArrayInference } from "./typed_array_inference.ts";
import { bindTypedArrayPieces } from "./typed_array_pieces.ts";
import type { Kernels } from "./types.ts";

/** The typed-array kernels. */
export const typedArrayKernels: Kernels = {
  ...typedArrayInference,
  ...createTrainingKernels(bindTypedArrayPieces),
  clamp: clampFloat32,
  affineClamped(layout, x, y, a, b, bounds) {
    typedArrayInference.affine("float32", layout, x, y, a, b);
    clampFloat32(y, y, bounds);
  },
};
