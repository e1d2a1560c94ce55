/**
 * Runs ONNX models in onnxruntime-web, to compare with.
 *
 * The one file that imports onnxruntime-web, and only when it is called. In
 * Deno it needs the permission to read the package's wasm file, for which
 * `--allow-read` of `$DENO_DIR/npm` is enough, and no other.
 *
 * @module
 */

import type {
  InferenceSession,
  Tensor as OnnxTensor,
} from "npm:onnxruntime-web@1.30.0/wasm";
import { UnsupportedError } from "../errors.ts";
import { isElementType, type Tensor } from "../tensor.ts";
import type { OnnxTensor as AnyTensor } from "./tensor_view.ts";

type OnnxRuntime = typeof import("npm:onnxruntime-web@1.30.0/wasm");

/**
 * Not written into the import itself: a dynamic import that Deno can read is
 * fetched with the module graph, needed or not, and this one is 70 MB.
 */
const PACKAGE = "npm:onnxruntime-web@1.30.0/wasm";

/** A model in onnxruntime-web, ready to run any number of times. */
export interface ReferenceModel extends AsyncDisposable {
  /** The names of the graph's inputs, without its constants. */
  readonly inputNames: readonly string[];
  /** The names of the graph's outputs. */
  readonly outputNames: readonly string[];
  /**
   * Runs the model.
   *
   * @param feeds A tensor per input; of integers too.
   * @param fetches The names of the outputs that are wanted; all by default.
   * @returns A tensor per output.
   *
   * @throws {UnsupportedError} If a tensor has a type that onnxruntime-web's
   * or our tensors do not have: bfloat16, integers.
   * @throws {Error} What onnxruntime-web says of feeds that do not fit.
   */
  run(
    feeds: Readonly<Record<string, Tensor | AnyTensor>>,
    fetches?: readonly string[],
  ): Promise<Record<string, Tensor>>;
  /** Frees the model's memory. */
  dispose(): Promise<void>;
}

/**
 * Loads a model into onnxruntime-web, which runs it on its wasm kernels in
 * one thread.
 *
 * @param model The ONNX file.
 * @param externalData The files that hold elements outside of it, by the
 * location that the model gives.
 * @returns The model; dispose it after use.
 *
 * @throws {UnsupportedError} If onnxruntime-web cannot be loaded or started,
 * or refuses the model; what it said is the error's cause.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization } from "../layer/batch_normalization.ts";
 * import { tensor } from "../tensor.ts";
 * import { buildOnnx } from "./build.ts";
 * import { loadReference } from "./reference.ts";
 *
 * const layer = new BatchNormalization();
 * await using model = await loadReference(buildOnnx(layer, { inputShape: [null, 3] }));
 * const x = tensor([1, 2, 3], [1, 3]);
 * const { y } = await model.run({ x });
 * assertEquals(y?.data, layer.call(x).data);
 * ```
 */
export async function loadReference(
  model: Uint8Array,
  externalData: ReadonlyMap<string, Uint8Array> = new Map(),
): Promise<ReferenceModel> {
  const runtime = await importRuntime();
  const session = await createSession(runtime, model, externalData);
  const dispose = (): Promise<void> => session.release();
  return {
    inputNames: session.inputNames,
    outputNames: session.outputNames,
    async run(feeds, fetches = session.outputNames) {
      const inputs = Object.entries(feeds).map((
        [name, value],
      ) => [name, toOnnx(runtime, name, value)]);
      const outputs = await session.run(Object.fromEntries(inputs), [
        ...fetches,
      ]);
      return Object.fromEntries(
        Object.entries(outputs).map(([name, value]) => [
          name,
          fromOnnx(name, value),
        ]),
      );
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

/**
 * Runs a model once in onnxruntime-web.
 *
 * @param model The ONNX file.
 * @param feeds A tensor per input.
 * @param externalData The files that hold elements outside of the model.
 * @returns A tensor per output.
 *
 * @throws {UnsupportedError} If onnxruntime-web cannot be loaded or started,
 * refuses the model, or a tensor has a type that it or we do not have.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization } from "../layer/batch_normalization.ts";
 * import { tensor } from "../tensor.ts";
 * import { buildOnnx } from "./build.ts";
 * import { runReference } from "./reference.ts";
 *
 * const layer = new BatchNormalization();
 * const x = tensor([1, 2, 3], [1, 3]);
 * const { y } = await runReference(buildOnnx(layer, { inputShape: [null, 3] }), { x });
 * assertEquals(y?.data, layer.call(x).data);
 * ```
 */
export async function runReference(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
  externalData?: ReadonlyMap<string, Uint8Array>,
): Promise<Record<string, Tensor>> {
  await using reference = await loadReference(model, externalData);
  return await reference.run(feeds);
}

async function importRuntime(): Promise<OnnxRuntime> {
  let runtime: OnnxRuntime;
  try {
    runtime = await import(PACKAGE);
  } catch (cause) {
    throw new UnsupportedError(
      "Cannot load npm:onnxruntime-web@1.30.0: what runs in onnxruntime needs the package in Deno's cache or the npm registry in reach; on Node and Bun: npm install onnxruntime-web@1.30.0",
      { cause },
    );
  }
  // More threads need module workers, which it does not start on Deno.
  runtime.env.wasm.numThreads = 1;
  return runtime;
}

async function createSession(
  runtime: OnnxRuntime,
  model: Uint8Array,
  externalData: ReadonlyMap<string, Uint8Array>,
): Promise<InferenceSession> {
  try {
    return await runtime.InferenceSession.create(model, {
      externalData: [...externalData].map(([path, data]) => ({ path, data })),
    });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    // The package has no error classes; its version is pinned, so its text is.
    throw new UnsupportedError(
      reason.startsWith("no available backend found")
        ? `Cannot start onnxruntime-web, which reads its wasm file (--allow-read) and compiles it; after a failed start it needs a new process: ${reason}`
        : `Cannot load the model in onnxruntime-web 1.30.0: ${reason}`,
      { cause },
    );
  }
}

function toOnnx(
  runtime: OnnxRuntime,
  name: string,
  { type, data, dims }: Tensor | AnyTensor,
): OnnxTensor {
  if (type === "bfloat16") {
    throw new UnsupportedError(
      `Cannot feed ${name} to onnxruntime-web: it has no bfloat16 tensors; feed float32 to a model that starts with a Cast`,
    );
  }
  // Its constructor takes float16 bits too, but its types do not say so.
  return new runtime.Tensor(type, data as Float32Array, dims);
}

function fromOnnx(name: string, { type, data, dims }: OnnxTensor): Tensor {
  if (!isElementType(type)) {
    throw new UnsupportedError(
      `Cannot read output ${name} of onnxruntime-web: expected float32, float64 or float16, got ${type}`,
    );
  }
  return { type, dims, data: data as Tensor["data"] };
}
