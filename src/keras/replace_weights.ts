/**
 * `replaceWeights`: a file with other BatchNormalization variables in it, and
 * everything else as it was.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { checkKnown } from "../known_options.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import type { WeightName } from "../layer/weights.ts";
import { castTensor, sameDims, type Tensor } from "../tensor.ts";
import { rawType } from "./files/raw_tensor.ts";
import { loadKeras } from "./load.ts";
import type { KerasLayer, KerasModel, LoadKerasOptions } from "./load/types.ts";
import { REPLACERS } from "./write/replacers.ts";
import type { NewVariable } from "./write/replacers.ts";
import { type WritableLayer, writableLayers } from "./write/writable.ts";

/** What a file does not tell about the layers to be replaced, as for `loadKeras`. */
export type ReplaceWeightsOptions = Pick<LoadKerasOptions, "config" | "layers">;

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof ReplaceWeightsOptions, true>> = {
  config: true,
  layers: true,
};

/** The bytes of a file, or of the files of a model by name. */
export type ReplaceSource = Uint8Array | ReadonlyMap<string, Uint8Array>;

/** The layer of the file that a caller means. */
function layerOf(model: KerasModel, wanted: string): KerasLayer {
  const loaded = model.layers.filter((layer) => layer.loaded);
  const called = loaded.filter(({ key, name, location }) =>
    [key, name, location].includes(wanted)
  );
  const exact = called.find(({ key }) => key === wanted);
  if (exact) return exact;
  if (called.length === 1) return called[0]!;
  throw new OptionError(
    called.length === 0
      ? `Cannot replace the weights of "${wanted}": the file has ${
        loaded.map(({ key }) => `"${key}"`).join(", ") ||
        "no BatchNormalization"
      }`
      : `Cannot replace the weights of "${wanted}": the file has ${
        called.map(({ key }) => `"${key}"`).join(" and ")
      } of that name`,
  );
}

/** The variables of one layer, with their places in the file. */
function newVariables(
  { key, weights: given }: WritableLayer,
  layer: KerasLayer,
): NewVariable[] {
  const places = layer.weights.filter(({ role }) => role !== undefined);
  const roles = places.map(({ role }) => role as WeightName);
  const isSame = roles.length === given.size &&
    roles.every((role) => given.has(role));
  if (!isSame) {
    throw new ShapeError(
      `Cannot replace the weights of "${key}": the file has ${
        roles.join(", ")
      }, and the layer ${[...given.keys()].join(", ")}`,
    );
  }
  return places.map(({ role, location, type, dims }) => {
    const tensor = given.get(role!)!;
    if (!sameDims(tensor.dims, dims)) {
      throw new ShapeError(
        `Cannot replace ${role} of "${key}": the file has the shape [${
          dims.join(", ")
        }] at ${location}, and the layer [${tensor.dims.join(", ")}]`,
      );
    }
    return { location, tensor: asStored(tensor, type) };
  });
}

/** A tensor in the file's element type, which `loadKeras` has read from it before. */
function asStored(tensor: Tensor, type: string): Tensor {
  return castTensor(tensor, rawType(type)!.type);
}

/** Two layers, or two variables, in one place would overwrite each other. */
function checkPlaces(variables: readonly NewVariable[]): void {
  const seen = new Set<string>();
  for (const { location } of variables) {
    if (seen.has(location)) {
      throw new UnsupportedError(
        `Cannot replace the weights: ${location} holds more than one of them`,
      );
    }
    seen.add(location);
  }
}

/** A name for a file that came without; no format depends on it. */
const ALONE = "model";

/**
 * Writes new BatchNormalization variables into an existing file and leaves
 * everything else as it is: other layers, the configuration, the optimizer,
 * other members of an archive, names, attributes and order.
 *
 * Takes `.h5`, `.weights.h5`, `.keras`, `.npz`, `.npy`, safetensors, Keras 3's
 * sharded weights and TensorFlow.js models; the last two as a map of all their
 * files. The file's element types stay: values are rounded to them. Of a
 * quantized TensorFlow.js weight, scale and min are chosen anew, so that
 * `model.json` is written anew as well, with the same content otherwise.
 *
 * @param source The bytes of a file, or of the files of a model by name; not
 * changed.
 * @param layers The layers with the new variables, by the key, name or
 * location that `loadKeras` gives for the ones in the file. A configuration
 * that has changed is not written.
 * @param options What the file does not tell about its layers.
 * @returns What `source` was, with the new variables: for a map all files,
 * those that have not changed as they are.
 *
 * @throws {FormatError} If the file is damaged, or no Keras file.
 * @throws {OptionError} If an option is unknown, or a layer is not in the file.
 * @throws {ShapeError} If a layer has other variables than the one in the file,
 * or of other shapes.
 * @throws {UnsupportedError} If the format's variables cannot be replaced, or
 * what the file holds is not the variables themselves.
 *
 * @example Double a layer's gamma
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKeras } from "./load.ts";
 * import { replaceWeights } from "./replace_weights.ts";
 *
 * const file = await Deno.readFile("testdata/keras/tfk_sequential.h5");
 * const { batchNormalizations } = await loadKeras(file);
 * const layer = batchNormalizations.get("batch_normalization")!;
 * const { gamma } = layer;
 * gamma!.data.forEach((value, i) => gamma!.data[i] = 2 * value);
 * const changed = await replaceWeights(file, new Map([["batch_normalization", layer]]));
 * const again = (await loadKeras(changed)).batchNormalizations;
 * assertEquals(again.get("batch_normalization")!.gamma, gamma);
 * ```
 */
export function replaceWeights(
  source: Uint8Array,
  layers: ReadonlyMap<string, BatchNormalization>,
  options?: ReplaceWeightsOptions,
): Promise<Uint8Array<ArrayBuffer>>;
/**
 * Writes new BatchNormalization variables into the files of a model.
 *
 * @param source The bytes of the model's files by name; not changed.
 * @param layers The layers with the new variables.
 * @param options What the files do not tell about their layers.
 * @returns All files, those that have not changed as they are.
 */
export function replaceWeights(
  source: ReadonlyMap<string, Uint8Array>,
  layers: ReadonlyMap<string, BatchNormalization>,
  options?: ReplaceWeightsOptions,
): Promise<Map<string, Uint8Array>>;
export async function replaceWeights(
  source: ReplaceSource,
  layers: ReadonlyMap<string, BatchNormalization>,
  options: ReplaceWeightsOptions = {},
): Promise<Uint8Array | Map<string, Uint8Array>> {
  checkKnown("replaceWeights", options, KNOWN);
  const isAlone = source instanceof Uint8Array;
  if (!isAlone && !(source instanceof Map)) {
    throw new OptionError(
      "Cannot replace weights: expected the bytes of a file, or a Map of files by name",
    );
  }
  const files: Map<string, Uint8Array> = isAlone
    ? new Map([[ALONE, source]])
    : new Map(source);
  const written = writableLayers(layers);
  const model = await loadKeras(isAlone ? source : files, options);
  const variables = written.flatMap((each) =>
    newVariables(each, layerOf(model, each.key))
  );
  checkPlaces(variables);
  const replace = REPLACERS[model.format];
  if (!replace) {
    throw new UnsupportedError(
      `Cannot replace the weights of a file of format ${model.format}: expected ${
        Object.keys(REPLACERS).join(", ")
      }`,
    );
  }
  const changed = await replace(files, variables);
  if (isAlone) return changed.get(ALONE)!;
  return new Map([...files, ...changed]);
}
