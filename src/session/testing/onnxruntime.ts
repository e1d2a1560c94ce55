/**
 * onnxruntime-web, as what the session is held against; unlike
 * `src/onnx/reference.ts` with every element type.
 *
 * @module
 */

import * as ort from "onnxruntime-web";
import type { TestTensor } from "./models.ts";

// One thread: no workers that outlive a test, and one order of everything.
ort.env.wasm.numThreads = 1;

/** Runs a model once. */
export async function runOnnxruntime(
  model: Uint8Array,
  feeds: Readonly<Record<string, TestTensor>>,
): Promise<Record<string, TestTensor>> {
  const session = await ort.InferenceSession.create(model, {
    logSeverityLevel: 4,
  });
  try {
    const outputs = await session.run(
      Object.fromEntries(
        Object.entries(feeds).map(([name, { type, data, dims }]) => [
          name,
          new ort.Tensor(type as "float32", data as Float32Array, dims),
        ]),
      ),
    );
    return Object.fromEntries(
      Object.entries(outputs).map(([name, { type, dims, data }]) => [
        name,
        { type, dims: [...dims], data } as unknown as TestTensor,
      ]),
    );
  } finally {
    await session.release();
  }
}
