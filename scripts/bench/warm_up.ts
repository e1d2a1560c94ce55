/**
 * Bringing our kernels to the last compiler tier before any peer starts.
 *
 * V8 runs a WASM module with its baseline compiler first and compiles what is
 * called often anew, in the background, one function after the other. Peers
 * have thousands of functions: behind them, ours waited for seconds, which all
 * shapes of a table were measured in (1.6 ns per vector in the place of 0.7).
 * An application that runs on our kernels has no such queue.
 *
 * @module
 */

import { allocate, BatchNormalization, type ElementType } from "../../mod.ts";

const TYPES: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
];
/** Planes and rows: other functions, or other loops of one. */
const LAYOUTS = [
  { dims: [8, 64, 28, 28], axis: 1 },
  { dims: [8, 28, 28, 64], axis: 3 },
];
/** How long each is called, in ms; the compiler takes a few. */
const TIME = 60;

/** Calls everything that the benchmarks measure until it is compiled. */
export async function warmUpKernels(): Promise<void> {
  for (const { dims, axis } of LAYOUTS) {
    for (const type of TYPES) {
      const layer = new BatchNormalization({
        axis,
        kernels: "wasm",
        dtype: type === "float16" || type === "bfloat16"
          ? `mixed_${type}`
          : type,
      });
      using x = allocate(dims, type);
      using out = allocate(dims, type);
      for (
        const run of [
          () => layer.call(x, { out }),
          () => layer.call(x, { out, training: true }),
          () => layer.backward(x, { out }),
        ]
      ) {
        const start = performance.now();
        while (performance.now() - start < TIME) run();
        // Lets the engine take over what it has compiled.
        await new Promise((resolve) => setTimeout(resolve));
      }
    }
  }
}
