/**
 * The session as a backend of onnxruntime-common, for code that was written
 * for onnxruntime.
 *
 * @module
 */

import { FormatError, OptionError, UnsupportedError } from "../errors.ts";
import { createSession, type Session } from "./session.ts";

/**
 * What onnxruntime-common declares in types of its own, which are no types of
 * ours: its tensors have methods that it adds to what we return, and may hold
 * texts, which we refuse; its metadata has a type and a shape always.
 */
// deno-lint-ignore no-explicit-any
export type OnnxruntimeValue = any;

/** A session as onnxruntime-common's `InferenceSession` drives it. */
export interface OnnxruntimeHandler {
  /** The names of the inputs. */
  readonly inputNames: readonly string[];
  /** The names of the outputs. */
  readonly outputNames: readonly string[];
  /** What the model says of its inputs. */
  readonly inputMetadata: readonly OnnxruntimeValue[];
  /** What the model says of its outputs. */
  readonly outputMetadata: readonly OnnxruntimeValue[];
  /** Runs the model. */
  run(
    feeds: Readonly<Record<string, OnnxruntimeValue>>,
    fetches: Readonly<Record<string, OnnxruntimeValue>>,
    options: object,
  ): Promise<Record<string, OnnxruntimeValue>>;
  /** Frees the session's memory. */
  dispose(): Promise<void>;
  /** Does nothing; there is no profile. */
  startProfiling(): void;
  /** Does nothing; there is no profile. */
  endProfiling(): void;
}

/** The part of onnxruntime's `SessionOptions` that the session heeds. */
export interface OnnxruntimeSessionOptions {
  /** Files of elements that the model keeps outside of its own. */
  readonly externalData?: readonly (string | {
    readonly path: string;
    readonly data: string | Uint8Array | ArrayBufferLike | Blob;
  })[];
}

/** The shape of onnxruntime-common's `Backend`. */
export interface OnnxruntimeBackend {
  /** Starts the backend: nothing to do. */
  init(backendName: string): Promise<void>;
  /** Loads a model from its bytes, or from a URL. */
  createInferenceSessionHandler(
    uriOrBuffer: string | Uint8Array,
    options?: OnnxruntimeSessionOptions,
  ): Promise<OnnxruntimeHandler>;
}

async function fetchBytes(url: string): Promise<Uint8Array> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot fetch the model "${url}": expected a URL that this runtime may fetch; read the file and pass its bytes instead`,
      { cause },
    );
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot fetch the model "${url}": the server answered ${response.status}`,
    );
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function externalFiles(
  entries: OnnxruntimeSessionOptions["externalData"],
): Promise<Map<string, Uint8Array> | undefined> {
  if (!entries) return undefined;
  const files = new Map<string, Uint8Array>();
  for (const entry of entries) {
    const { path, data } = typeof entry === "string"
      ? { path: entry, data: entry }
      : entry;
    const bytes = typeof data === "string"
      ? await fetchBytes(data)
      : data instanceof Uint8Array
      ? data
      : new Uint8Array(
        data instanceof Blob ? await data.arrayBuffer() : data,
      );
    // Models name files as in "model.bin", programs also as in "./model.bin".
    files.set(path.replace(/^\.\//, ""), bytes);
  }
  return files;
}

function handlerOf(session: Session): OnnxruntimeHandler {
  const { inputNames, outputNames, inputMetadata, outputMetadata } = session;
  return {
    inputNames,
    outputNames,
    inputMetadata,
    outputMetadata,
    run: (feeds, fetches) => session.run(feeds, fetches),
    dispose: () => session.release(),
    startProfiling(): void {},
    endProfiling(): void {},
  };
}

/**
 * The backend for `registerBackend` of the npm package `onnxruntime-common`:
 * code written for onnxruntime then runs models of BatchNormalization and its
 * company where onnxruntime's wasm cannot start.
 *
 * Of the session's options, `externalData` has an effect; graph optimization,
 * threads and the like have nothing to act on. Errors are Evenkeel's, such as
 * an `UnsupportedError` for a model with other operators.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { InferenceSession, registerBackend, Tensor } from "onnxruntime-common";
 * import { BatchNormalization, buildOnnx, onnxruntimeBackend } from "@evenkeel/evenkeel";
 *
 * registerBackend("evenkeel", onnxruntimeBackend, 10);
 *
 * const model = buildOnnx(new BatchNormalization({ epsilon: 0 }), { inputShape: [null, 2] });
 * const session = await InferenceSession.create(model, { executionProviders: ["evenkeel"] });
 * const x = new Tensor("float32", Float32Array.of(1, 2), [1, 2]);
 * const { y } = await session.run({ x });
 * assertEquals(y?.data, Float32Array.of(1, 2));
 * await session.release();
 * ```
 */
export const onnxruntimeBackend: OnnxruntimeBackend = {
  init: () => Promise.resolve(),
  async createInferenceSessionHandler(uriOrBuffer, options) {
    if (typeof uriOrBuffer === "string") {
      uriOrBuffer = await fetchBytes(uriOrBuffer);
    } else if (!(uriOrBuffer instanceof Uint8Array)) {
      throw new OptionError(
        `Cannot create a session: expected a URL or a Uint8Array, got ${typeof uriOrBuffer}`,
      );
    }
    const externalData = await externalFiles(options?.externalData);
    return handlerOf(
      await createSession(
        uriOrBuffer,
        externalData === undefined ? {} : { externalData },
      ),
    );
  },
};
