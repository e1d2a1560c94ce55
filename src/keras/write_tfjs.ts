/**
 * Layers as a TensorFlow.js layers model.
 *
 * @module
 */

import { joinBytes } from "../bytes.ts";
import { UnsupportedError } from "../errors.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { castTensor } from "../tensor.ts";
import { littleEndianBytes } from "./files/raw_tensor.ts";
import { tfjsObject } from "./tfjs/objects.ts";
import { READ_TYPE } from "./tfjs/values.ts";
import {
  type Dialect,
  modelConfig,
  type ModelLayer,
  modelLayers,
  type WriteModelOptions,
} from "./write/model.ts";
import { type WritableLayer, writableLayers } from "./write/writable.ts";

/** The file that the manifest names. */
const WEIGHTS_FILE = "weights.bin";

/** TensorFlow.js has float32 only, and Keras 2's JSON. */
const DIALECT: Dialect = { object: tfjsObject, dtype: () => READ_TYPE };

/** The ranks that TensorFlow.js normalizes. */
const MAX_RANK = 4;

function check({ written: { key, layer }, inputShape }: ModelLayer): void {
  const { axis, renorm, virtualBatchSize } = layer.options;
  const lack = typeof axis !== "number" && axis.length !== 1
    ? "several axes"
    : renorm
    ? "renorm"
    : virtualBatchSize !== null
    ? "ghost batches"
    : inputShape.length > MAX_RANK
    ? `inputs of more than ${MAX_RANK} dimensions`
    : undefined;
  if (lack === undefined) return;
  throw new UnsupportedError(
    `Cannot write layer "${key}" for TensorFlow.js: its BatchNormalization has no ${lack}`,
  );
}

/** The files of a model with layers. */
function tfjsFiles(
  layers: readonly WritableLayer[],
  options: WriteModelOptions,
): Map<string, Uint8Array<ArrayBuffer>> {
  const model = modelLayers(layers, options);
  model.forEach(check);
  const weights = model.flatMap(({ name, written }) =>
    [...written.weights].map(([role, tensor]) => ({
      spec: { name: `${name}/${role}`, shape: tensor.dims, dtype: READ_TYPE },
      bytes: littleEndianBytes(castTensor(tensor, READ_TYPE)),
    }))
  );
  const json = {
    format: "layers-model",
    generatedBy: "Evenkeel",
    convertedBy: null,
    modelTopology: {
      class_name: "Functional",
      config: modelConfig(model, { module: undefined, dialect: DIALECT }),
      // What it is written for; the layers' rules are those of TensorFlow.js.
      keras_version: "tfjs-layers 4.22.0",
      backend: "tensor_flow.js",
    },
    weightsManifest: [{
      paths: [WEIGHTS_FILE],
      weights: weights.map(({ spec }) => spec),
    }],
  };
  return new Map([
    ["model.json", new TextEncoder().encode(JSON.stringify(json))],
    [WEIGHTS_FILE, joinBytes(weights.map(({ bytes }) => bytes))],
  ]);
}

/**
 * Writes BatchNormalization layers as a TensorFlow.js layers model: each with
 * an input of its own and its output among the model's, named as the layers
 * are, with `_` for `/`.
 *
 * TensorFlow.js knows float32 only: other element types are converted, float64
 * with rounding. Its CPU kernel (4.22) normalizes the last axis, whatever a
 * layer's axis is.
 *
 * @param layers The layers by name.
 * @param options What the layers do not tell.
 * @returns The files by name: `model.json` and `weights.bin`.
 *
 * @throws {OptionError} If there are no layers, a name is one that files
 * cannot hold, or a layer has no variables yet.
 * @throws {UnsupportedError} If a layer has what TensorFlow.js does not:
 * several axes, renorm, ghost batches, inputs of five dimensions and more, or
 * such a regularizer or constraint.
 *
 * @example Write a layer for TensorFlow.js
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKeras } from "./load.ts";
 * import { writeTfjs } from "./write_tfjs.ts";
 *
 * const model = await loadKeras("testdata/keras/tfk_sequential.h5");
 * const files = writeTfjs(model.batchNormalizations);
 * assertEquals([...files.keys()], ["model.json", "weights.bin"]);
 * const again = await loadKeras(files);
 * assertEquals(again.format, "tfjs-layers");
 * ```
 */
export function writeTfjs(
  layers: ReadonlyMap<string, BatchNormalization>,
  options: WriteModelOptions = {},
): Map<string, Uint8Array<ArrayBuffer>> {
  return tfjsFiles(writableLayers(layers), options);
}
