/**
 * TensorFlow.js as a peer, on its WASM and its plain JavaScript backend.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { type BenchWeights, EPSILON } from "./data.ts";
import type { BenchShape } from "./shapes.ts";

/** The backends. */
export type TfjsBackend = "wasm" | "cpu";

// It says hello to Node on the console, again and again.
tf.env().set("IS_TEST", true);
tf.env().set("PROD", true);

/** Starts both backends. */
export async function startTfjs(): Promise<void> {
  const entry = import.meta.resolve("@tensorflow/tfjs-backend-wasm");
  setWasmPaths(new URL("./", entry).href);
  setThreadsCount(1);
  for (const backend of ["cpu", "wasm"] as const) {
    if (!await tf.setBackend(backend)) {
      throw new Error(`TensorFlow.js has no backend ${backend} here`);
    }
  }
}

/** A call of inference, from an ordinary array to one. */
export function tfjsInference(
  backend: TfjsBackend,
  { dims }: BenchShape,
  { gamma, beta, mean, variance }: BenchWeights,
  x: Float32Array,
): () => Promise<void> {
  return async () => {
    if (tf.getBackend() !== backend) await tf.setBackend(backend);
    const input = tf.tensor(x, [...dims]);
    const output = tf.tidy(() =>
      tf.batchNorm(
        input,
        tf.tensor1d(mean),
        tf.tensor1d(variance),
        tf.tensor1d(beta),
        tf.tensor1d(gamma),
        EPSILON,
      )
    );
    output.dataSync();
    input.dispose();
    output.dispose();
  };
}
