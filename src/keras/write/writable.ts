/**
 * Layers as the writers take them: each with its name in the file and its
 * variables, checked.
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import { type WeightName, weightNames } from "../../layer/weights.ts";
import type { Tensor } from "../../tensor.ts";

/** A layer that can be written. */
export interface WritableLayer {
  /** What it is called in the file. */
  readonly key: string;
  readonly layer: BatchNormalization;
  /** Its variables by Keras' names, in Keras' order. */
  readonly weights: ReadonlyMap<WeightName, Tensor>;
}

/** A part of a name that no format can hold, or that means something else. */
// deno-lint-ignore no-control-regex
const UNUSABLE_PART = /^(|\.|\.\.|__proto__)$|[\\\0-\x1f\x7f]/;

function checkKey(key: unknown): asserts key is string {
  if (
    typeof key === "string" &&
    !key.split("/").some((part) => UNUSABLE_PART.test(part)) &&
    // Half of a surrogate pair has no UTF-8.
    !/\p{Surrogate}/u.test(key)
  ) return;
  throw new OptionError(
    `Cannot write a layer as ${
      JSON.stringify(key)
    }: expected a name such as "bn" or "block/bn"`,
  );
}

/**
 * The layers of a map with their variables.
 *
 * @throws {OptionError} If it is no map of layers, has none, a name that no
 * file can hold, or a layer that is not built and so has no variables.
 */
export function writableLayers(
  layers: ReadonlyMap<string, BatchNormalization>,
): WritableLayer[] {
  if (!(layers instanceof Map) || layers.size === 0) {
    throw new OptionError(
      "Cannot write layers: expected a Map with at least one BatchNormalization by name",
    );
  }
  return [...layers].map(([key, layer]: [unknown, unknown]) => {
    checkKey(key);
    if (!(layer instanceof BatchNormalization)) {
      throw new OptionError(
        `Cannot write layer "${key}": expected a BatchNormalization`,
      );
    }
    const tensors = layer.getWeights();
    const names = weightNames(layer.options);
    if (tensors.length !== names.length) {
      throw new OptionError(
        `Cannot write layer "${key}": it has no variables yet; build or call it first, or set its weights`,
      );
    }
    return {
      key,
      layer,
      weights: new Map(names.map((name, i) => [name, tensors[i]!])),
    };
  });
}
