/**
 * The kernels in plain TypeScript over typed arrays: they run everywhere, and
 * are the definition that the WASM kernels must match bit for bit.
 *
 * @module
 */

import { createTrainingKernels } from "./training.ts";
import { typedArrayInference } from "./typed_array_inference.ts";
import { bindTypedArrayPieces } from "./typed_array_pieces.ts";
import type { Kernels } from "./types.ts";

/** The typed-array kernels. */
export const typedArrayKernels: Kernels = {
  ...typedArrayInference,
  ...createTrainingKernels(bindTypedArrayPieces),
};
