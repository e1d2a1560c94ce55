/**
 * Going through batches, once or several times.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import type { Feed } from "./onnx_runner.ts";
import type { Batch, Batches } from "./recalibrate_options.ts";

function isTensor(batch: Batch): batch is Tensor {
  return "data" in batch && "dims" in batch && "type" in batch &&
    ArrayBuffer.isView(batch.data);
}

/** The feeds of a batch, for a model with these inputs. */
export function feedsOf(
  batch: Batch,
  inputs: readonly string[],
): Readonly<Record<string, Feed>> {
  if (typeof batch !== "object" || batch === null) {
    throw new OptionError(
      `Cannot use a batch: expected a tensor or an object of tensors, got ${batch}`,
    );
  }
  if (isTensor(batch)) {
    const [only] = inputs;
    if (inputs.length === 1) return { [only!]: batch };
    throw new OptionError(
      `Cannot use a batch that is one tensor: the model has the inputs ${
        inputs.map((name) => `"${name}"`).join(", ") || "none"
      }, expected an object with a tensor for each`,
    );
  }
  const missing = inputs.filter((name) => !Object.hasOwn(batch, name));
  if (missing.length > 0) {
    throw new OptionError(
      `Cannot use a batch: it has no ${
        missing.map((name) => `"${name}"`).join(", ")
      }, got ${Object.keys(batch).map((name) => `"${name}"`).join(", ")}`,
    );
  }
  // Others, such as labels, are for the metric.
  return Object.fromEntries(inputs.map((name) => [name, batch[name]!]));
}

/** The samples in a batch: the first extent of the first input. */
export function sizeOf(feeds: Readonly<Record<string, Feed>>): number {
  const [first] = Object.values(feeds);
  return first?.dims[0] ?? 1;
}

/**
 * Checks that batches can be gone through as often as needed.
 *
 * @throws {OptionError} If they are no batches, or can be had once only.
 */
export function checkBatches(batches: Batches, passes: number): void {
  const isIterable = typeof batches === "object" && batches !== null &&
    (Symbol.iterator in batches || Symbol.asyncIterator in batches);
  if (!isIterable) {
    throw new OptionError(
      "Cannot recalibrate: expected batches as an array or another iterable",
    );
  }
  // Iterators, such as a generator's, and streams give their data once.
  const isOneShot = "next" in batches || "getReader" in batches;
  if (passes > 1 && isOneShot) {
    throw new OptionError(
      `Cannot recalibrate: the data is needed ${passes} times, and an iterator gives it once; pass an array, or an object whose [Symbol.iterator] or [Symbol.asyncIterator] begins anew`,
    );
  }
}
