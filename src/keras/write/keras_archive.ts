/**
 * Layers as a `.keras` archive.
 *
 * @module
 */

import { writeZip } from "../zip/zip.ts";
import {
  modelConfig,
  modelLayers,
  releaseOf,
  type WriteModelOptions,
} from "./model.ts";
import { modelWeights } from "./weights_h5.ts";
import type { WritableLayer } from "./writable.ts";

/** The releases that the files were checked with. */
const VERSIONS = { "2": "2.21.0", "3": "3.15.1" } as const;

/** Not now, so that the same layers give the same bytes. */
const DATE = "1980-01-01@00:00:00";

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/**
 * The bytes of a `.keras` file with a model of these layers: each with an
 * input of its own and its output among the model's, named as the layers are,
 * with `_` for `/`.
 *
 * `keras.models.load_model` of Keras 3 and of tf-keras reads it. What only one
 * of them has (Keras 2's ghost batches and several axes), only that one reads.
 *
 * @throws {OptionError} If some layers follow Keras 2 and some Keras 3.
 * @throws {UnsupportedError} If a layer has an adjustment.
 */
export async function writeKerasArchive(
  layers: readonly WritableLayer[],
  options: WriteModelOptions = {},
): Promise<Uint8Array> {
  const release = releaseOf(layers);
  const model = modelLayers(layers, options);
  const config = {
    module: "keras",
    // Of both releases, other than the class that each of them makes of it.
    class_name: "Model",
    config: modelConfig(model, { module: "keras.layers" }),
    registered_name: "Model",
  };
  return await writeZip(
    new Map([
      [
        "metadata.json",
        json({ keras_version: VERSIONS[release], date_saved: DATE }),
      ],
      ["config.json", json(config)],
      ["model.weights.h5", await modelWeights(model)],
    ]),
  );
}
