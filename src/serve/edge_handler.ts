/**
 * A small fetch handler for workers that serve a few models: the `infer` call
 * of the Open Inference Protocol v2, in JSON.
 *
 * @see https://github.com/kserve/open-inference-protocol
 *
 * @module
 */

import { EvenkeelError } from "../errors.ts";
import { isObject } from "../layer/keras_object.ts";
import type { SessionOutput } from "../session/types.ts";
import { readTensor, writeTensor } from "./json_tensors.ts";
import { readBody } from "./read_body.ts";
import { RequestError } from "./request_error.ts";
import type { ServedModel } from "./served_model.ts";

/**
 * The smallest platforms give 128 MB. 4 MB of JSON are 200,000 numbers with
 * all their digits, or at the most a million short ones: text, numbers,
 * elements and the answer (21 MB, as chunks, as text and as bytes) are then
 * 84 MB at once.
 */
export const MOST_BODY_BYTES: number = 4 * 1024 * 1024;

const PATH = /^\/v2\/models\/([^/]+)\/infer\/?$/;

/** What a request asks for. */
interface Inference {
  readonly id: unknown;
  readonly feeds: Readonly<Record<string, ReturnType<typeof readTensor>[1]>>;
  readonly outputs: readonly string[] | undefined;
}

function json(
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(text, {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}

function failure(
  status: number,
  error: string,
  headers?: Readonly<Record<string, string>>,
): Response {
  return json(status, JSON.stringify({ error }), headers);
}

function outputNames(outputs: unknown): readonly string[] | undefined {
  // An empty list means all, as an absent one does.
  if (outputs === undefined) return undefined;
  const names = Array.isArray(outputs)
    ? outputs.map((output) => isObject(output) ? output.name : undefined)
    : [undefined];
  if (names.every((name) => typeof name === "string")) {
    return names.length > 0 ? names as string[] : undefined;
  }
  throw new RequestError(
    400,
    `Cannot use "outputs": expected a list of {"name": …}`,
  );
}

function readInference(text: string): Inference {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new RequestError(
      400,
      `Cannot read the body: expected JSON: ${(error as Error).message}`,
    );
  }
  if (!isObject(body) || !Array.isArray(body.inputs)) {
    throw new RequestError(
      400,
      `Cannot read the body: expected {"inputs": [{"name", "shape", "datatype", "data"}, …]}`,
    );
  }
  const feeds = new Map<string, ReturnType<typeof readTensor>[1]>();
  for (const input of body.inputs) {
    const [name, tensor] = readTensor(input);
    if (feeds.has(name)) {
      throw new RequestError(400, `Cannot use input "${name}": it came twice`);
    }
    feeds.set(name, tensor);
  }
  return {
    id: body.id,
    feeds: Object.fromEntries(feeds),
    outputs: outputNames(body.outputs),
  };
}

function writeInference(
  { name }: ServedModel,
  { id }: Inference,
  outputs: Readonly<Record<string, SessionOutput>>,
): string {
  const tensors = Object.entries(outputs).map(([name, tensor]) =>
    writeTensor(name, tensor)
  );
  return `{"model_name":${JSON.stringify(name)},${
    id === undefined ? "" : `"id":${JSON.stringify(id)},`
  }"outputs":[${tensors.join(",")}]}`;
}

/** What a request's error is answered with; others are defects. */
function errorResponse(error: unknown): Response {
  if (error instanceof RequestError) {
    return failure(error.status, error.message);
  }
  // The model refuses what it was fed.
  if (error instanceof EvenkeelError) return failure(400, error.message);
  // How engines say that an array is too large for them.
  if (error instanceof RangeError) {
    return failure(
      400,
      `Cannot run the model on these shapes: ${error.message}`,
    );
  }
  console.error(error);
  return failure(500, "Internal error");
}

async function infer(
  model: ServedModel,
  request: Request,
  limit: number,
): Promise<Response> {
  try {
    const inference = readInference(await readBody(request, limit));
    const outputs = await model.run(inference.feeds, inference.outputs);
    return json(200, writeInference(model, inference, outputs));
  } catch (error) {
    return errorResponse(error);
  }
}

/** The options of {@linkcode edgeHandler}. */
export interface EdgeHandlerOptions {
  /** The most bytes of a request's body; 4 MB by default. */
  readonly maxBodyBytes?: number;
}

/**
 * Makes a handler that answers `POST /v2/models/NAME/infer`.
 *
 * The body is `{"inputs": [{"name", "shape", "datatype", "data"}]}`, the answer
 * `{"model_name", "outputs": [...]}`; whatever cannot be served is answered
 * with a status of 400 to 499 and `{"error": "..."}`.
 *
 * @param models The models.
 * @param options The limit of a body.
 * @returns The handler; it never rejects.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnx } from "@evenkeel/evenkeel";
 * import { edgeHandler, sessionModel } from "./edge_sessions.ts";
 *
 * const layer = new BatchNormalization({ epsilon: 0 });
 * const model = buildOnnx(layer, { inputShape: [null, 2] });
 * const handler = edgeHandler([sessionModel("bn", model)]);
 * const response = await handler(
 *   new Request("http://localhost/v2/models/bn/infer", {
 *     method: "POST",
 *     body: `{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}`,
 *   }),
 * );
 * const { outputs } = await response.json();
 * assertEquals(outputs[0].data, [1, 2]);
 * ```
 */
export function edgeHandler(
  models: readonly ServedModel[],
  { maxBodyBytes = MOST_BODY_BYTES }: EdgeHandlerOptions = {},
): (request: Request) => Promise<Response> {
  const byName = new Map(models.map((model) => [model.name, model]));
  const names = [...byName.keys()];
  const paths = names.map((name) => `/v2/models/${name}/infer`).join(", ");
  return async (request) => {
    const { pathname } = new URL(request.url);
    // The names are such that URLs do not escape them.
    const name = PATH.exec(pathname)?.[1];
    const model = name === undefined ? undefined : byName.get(name);
    if (!model) {
      return failure(
        404,
        name === undefined
          ? `Nothing is at ${pathname}: POST to ${paths}`
          : `No model "${name}" is here, expected ${names.join(", ")}`,
      );
    }
    if (request.method !== "POST") {
      return failure(
        405,
        `Cannot ${request.method} ${pathname}: expected POST`,
        { allow: "POST" },
      );
    }
    return await infer(model, request, maxBodyBytes);
  };
}
