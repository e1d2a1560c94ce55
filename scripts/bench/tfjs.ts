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

/**
 * A forward and a backward pass of training, as `tf.layers` builds them: the
 * moments, the operator, and its registered gradient.
 */
export function tfjsForwardBackward(
  backend: TfjsBackend,
  { dims, axis }: BenchShape,
  { gamma, beta }: BenchWeights,
  x: Float32Array,
  dy: Float32Array,
): () => Promise<void> {
  const reduced = dims.map((_, d) => d).filter((d) => d !== axis);
  return async () => {
    if (tf.getBackend() !== backend) await tf.setBackend(backend);
    tf.tidy(() => {
      const run = (x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor) => {
        const { mean, variance } = tf.moments(x, reduced);
        return tf.batchNorm(
          x,
          mean as tf.Tensor1D,
          variance as tf.Tensor1D,
          offset as tf.Tensor1D,
          scale as tf.Tensor1D,
          EPSILON,
        );
      };
      const shape = [...dims];
      const result = tf.valueAndGrads((...args: tf.Tensor[]) =>
        run(args[0]!, args[1]!, args[2]!)
      )(
        [tf.tensor(x, shape), tf.tensor1d(gamma), tf.tensor1d(beta)],
        tf.tensor(dy, shape),
      );
      result.value.dataSync();
      for (const gradient of result.grads) gradient.dataSync();
    });
  };
}
