/**
 * `loadKeras`: the BatchNormalization layers of a Keras file.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import type { KerasConfig } from "../layer/config.ts";
import { isObject } from "../layer/keras_object.ts";
import { type KerasVersion, kerasVersionOf } from "../layer/keras_version.ts";
import type {
  Contents,
  FileVariable,
  ObjectNode,
  Weights,
} from "./contents/contents.ts";
import type { Found } from "./contents/found.ts";
import { type KerasSource, openSource } from "./files/source.ts";
import { openContents } from "./formats/detect.ts";
import { inferRanks } from "./infer_rank.ts";
import { type InputShape, shapeOfRank } from "./least_shape.ts";
import { checkLoadOptions } from "./load_options.ts";
import { type MadeLayer, type MakeContext, makeLayer } from "./make_layer.ts";
import { matchFlat } from "./match_flat.ts";
import { matchNamed } from "./match_named.ts";
import { matchObjects } from "./match_objects.ts";
import { type ConfigLayer, configLayers, givenConfig } from "./model_config.ts";
import { judge } from "./recognize.ts";
import { type Keyed, namedLayers, select, withKeys } from "./selection.ts";
import type {
  KerasLayer,
  KerasModel,
  KerasWeight,
  LoadKerasOptions,
} from "./types.ts";

/** Keras 1: only mode 0 normalizes with the moving statistics at inference. */
function reasonOfMode(config: KerasConfig | undefined): string | undefined {
  const mode = config?.mode;
  if (mode === 1) {
    return "mode 1 of Keras 1 normalizes each sample on its own";
  }
  return mode === 2
    ? "mode 2 of Keras 1 uses the batch's statistics at inference as well, not the moving ones"
    : undefined;
}

async function concluded(found: Found): Promise<Found> {
  const { verdict, location, entry, config } = found;
  if (verdict === "certain") {
    const reason = reasonOfMode(config);
    return reason ? { ...found, verdict: "possible", reason } : found;
  }
  if (verdict !== "other" || entry || location === undefined) return found;
  const { variables } = found;
  // Names that say what they are, such as a LayerNormalization's, are not
  // overruled by shapes.
  const isNamed = variables.some(({ name }) =>
    !/\d$/.test(name.replace(/:\d+$/, ""))
  );
  if (isNamed) return found;
  const group = location.slice(location.lastIndexOf("/") + 1);
  return { ...found, ...await judge(group, variables) };
}

function matched(
  weights: Weights,
  layers: readonly ConfigLayer[] | undefined,
): readonly Found[] | Promise<readonly Found[]> {
  switch (weights.kind) {
    case "named":
      return matchNamed(weights.groups, layers);
    case "objects":
    case "tracked":
      return matchObjects(weights.root, layers);
    case "flat":
      return matchFlat(weights, layers);
    case "layers":
      return weights.layers;
  }
}

/** All layers of a file, each with what was found about it. */
export async function findLayers(
  { weights }: Contents,
  config: KerasConfig | undefined,
): Promise<Keyed[]> {
  const layers = config && configLayers(config);
  const found: Found[] = [];
  for (const each of await matched(weights, layers)) {
    const result = weights.kind === "layers" ? each : await concluded(each);
    // Parts of layers that the configuration describes, such as an LSTM's
    // cell, are not listed.
    const isPart = layers?.length && !result.entry;
    if (!(isPart && result.verdict === "other")) found.push(result);
  }
  return withKeys(found);
}

function* namesIn({ weights }: Contents): Generator<string> {
  switch (weights.kind) {
    case "named":
      for (const group of weights.groups) {
        for (const { name } of group.variables) yield name;
      }
      break;
    case "objects":
    case "tracked":
      yield* locationsBelow(weights.root);
      break;
    case "flat":
      for (const { name } of weights.variables) yield name;
      break;
    case "layers":
      for (const { variables } of weights.layers) {
        for (const { name } of variables) yield name;
      }
  }
}

function* locationsBelow(node: ObjectNode): Generator<string> {
  for (const child of node.children.values()) {
    if (child.isObject) yield child.location;
    yield* locationsBelow(child);
  }
}

/** Since 3.6, Keras stores the layers' names in files that have no other sign of the release. */
function hasNames(node: ObjectNode): boolean {
  return node.name !== undefined ||
    [...node.children.values()].some(hasNames);
}

/**
 * The release that a tree of objects is from, where no version is written:
 * names tell Keras 3.6 and later, `batch_shape` (earlier `batch_input_shape`)
 * any Keras 3; the layout itself is that of 2.12 and later.
 */
function versionOfObjects(
  root: ObjectNode,
  config: KerasConfig | undefined,
): KerasVersion | undefined {
  if (hasNames(root)) return "3";
  if (!config) return undefined;
  return JSON.stringify(config).includes(`"batch_shape":`) ? "3" : "2.12";
}

function contextFor(
  contents: Contents,
  config: KerasConfig | undefined,
  options: LoadKerasOptions,
): MakeContext {
  const { weights } = contents;
  const written = contents.kerasVersion ?? config?.keras_version;
  const isTree = weights.kind === "objects";
  return {
    kerasVersion: options.kerasVersion ??
      (typeof written === "string" ? kerasVersionOf(written) : undefined) ??
      contents.follows ??
      (isTree ? versionOfObjects(weights.root, config) : undefined) ??
      (weights.kind === "tracked" ? weights.release : undefined),
    oldest: isTree ? "2.12" : "2.4",
    kernels: options.kernels,
    known: () => namesIn(contents),
  };
}

function describeWeight(
  variable: FileVariable,
  made: MadeLayer | undefined,
): KerasWeight {
  const { location, type, dims } = variable;
  const role = [...made?.weights ?? []].find(([, each]) => each === variable);
  return {
    ...(role ? { role: role[0] } : {}),
    location,
    type,
    dims: [...dims],
  };
}

/** A shape in a configuration: null or a size for each dimension. */
function isShape(value: unknown): value is (number | null)[] {
  return Array.isArray(value) && value.length > 0 &&
    value.every((extent) => extent === null || Number.isSafeInteger(extent));
}

/** The rank of a layer's input as a shape with the extents that its variables have. */
function shapeFromRank(
  layer: BatchNormalization | undefined,
  rank: number | undefined,
): InputShape | undefined {
  if (!layer || rank === undefined) return undefined;
  try {
    return shapeOfRank(layer, rank);
  } catch (error) {
    // The configuration says otherwise than the variables, which count.
    if (error instanceof ShapeError) return undefined;
    throw error;
  }
}

/**
 * What Keras wrote beside a layer to build it again, or for a first layer;
 * else what the model's other layers make certain.
 */
function inputShapeOf(
  { entry, config, path }: Found,
  made: MadeLayer | undefined,
  ranks: ReadonlyMap<string, number>,
): InputShape | undefined {
  const build = entry?.build_config;
  return [
    isObject(build) ? build.input_shape : undefined,
    config?.batch_input_shape,
  ].find(isShape) ?? shapeFromRank(made?.layer, ranks.get(path.join("/")));
}

function describeLayer(
  { key, found }: Keyed,
  made: MadeLayer | undefined,
  ranks: ReadonlyMap<string, number>,
): KerasLayer {
  const { name, path, className, config, location, reason } = found;
  const described = made || !config ? found.variables : [];
  const inputShape = inputShapeOf(found, made, ranks);
  return {
    name,
    path,
    key,
    ...(className === undefined ? {} : { className }),
    ...(config === undefined ? {} : { config }),
    ...(inputShape === undefined ? {} : { inputShape }),
    ...(location === undefined ? {} : { location }),
    weights: described.map((variable) => describeWeight(variable, made)),
    loaded: made !== undefined,
    assumed: made?.assumed ?? [],
    ...(reason === undefined ? {} : { reason }),
  };
}

/** What `loadKeras` gives of an open file. */
export async function readModel(
  contents: Contents,
  options: LoadKerasOptions,
): Promise<KerasModel> {
  if (contents.weights.kind === "layers" && options.config !== undefined) {
    throw new OptionError(
      `Cannot use the option config: a file of the format "${contents.format}" has operators instead of Keras' layers, which tell all there is; change them with the option layers`,
    );
  }
  const config = options.config === undefined
    ? contents.config
    : givenConfig(options.config);
  const found = await findLayers(contents, config);
  const given = namedLayers(options.layers);
  const named = select("layers", [...given.keys()], found);
  const only = options.only && select("only", options.only, found);
  const context = contextFor(contents, config, options);
  const ranks = config ? inferRanks(config) : new Map<string, number>();
  const batchNormalizations = new Map<string, BatchNormalization>();
  const layers: KerasLayer[] = [];
  for (const each of found) {
    const wanted = only?.has(each) ?? true;
    const name = named.get(each);
    const isOne = each.found.verdict === "certain" ||
      each.found.verdict === "recognized";
    const made = wanted && (isOne || name !== undefined)
      ? await makeLayer(
        each.key,
        each.found,
        name === undefined ? undefined : given.get(name),
        context,
      )
      : undefined;
    if (made) batchNormalizations.set(each.key, made.layer);
    layers.push(describeLayer(each, made, ranks));
  }
  const { format, kerasVersion } = contents;
  return {
    format,
    ...(kerasVersion === undefined ? {} : { kerasVersion }),
    ...(config === undefined ? {} : { config }),
    layers,
    batchNormalizations,
  };
}

/**
 * Loads the BatchNormalization layers of a Keras file, with their weights.
 *
 * Reads whole models and weights of Keras 1 to 3, TensorFlow's and
 * TensorFlow.js', arrays of NumPy, safetensors and JSON, and ONNX models
 * (`KerasFormat` lists them), and tells them apart by content. Of
 * other layers, no weight is read. Each layer follows the release that wrote
 * the file (its option `kerasVersion`).
 *
 * A file of weights only says little about its layers. Without the option
 * `config`, a layer is recognized by the names of its variables or, failing
 * that, by their number, shapes and signs; {@linkcode KerasLayer} has the
 * reason, and the settings that were assumed. What could be something else is
 * listed there and not loaded, until the option `layers` names it.
 *
 * A path needs the permission to read it; nothing else is needed, and nothing
 * is written. Files that name others, such as shards, find them in their own
 * folder or below it, and nowhere else.
 *
 * Of a file, only what is needed is read, wherever it is: what describes its
 * variables, and those of the layers; ONNX models and compressed weights are
 * read as a whole. Behind a URL, a server that answers range requests is asked
 * for blocks of 64 KiB, each once, and neighbouring ones together. Of a server
 * that does not, the file is downloaded, up to 2 GiB.
 *
 * @param source A path, a URL (`file:`, `http:` or `https:`), the bytes of a
 * file, a `Blob` or `File`, or a map of a model's files by name; a path or URL
 * can also be that of a SavedModel's or TensorFlow.js model's folder, or of a
 * checkpoint without its `.index`.
 * @param options What the file does not tell.
 * @returns All layers that the file describes, and the loaded ones by
 * {@linkcode KerasLayer.key}: the names from the outermost layer down, joined
 * with `/`.
 *
 * @throws {FormatError} If there is no such file, it is no Keras file or
 * damaged, or a weight is missing, of a wrong type or of a wrong shape; the
 * message then names layer and weight. Only what is read can be found damaged:
 * weights of more than 1 MiB that an archive stores uncompressed are not
 * compared with its checksum, which is that of all of them.
 * @throws {OptionError} If an option is unknown or invalid, names a layer that
 * the file does not have, or leaves something open.
 * @throws {UnsupportedError} If the option `layers` names a layer that is no
 * batch normalization.
 *
 * @example Run a layer of a model
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKeras, tensor } from "@evenkeel/evenkeel";
 *
 * const model = await loadKeras("testdata/keras/tfk_sequential.h5");
 * const layer = model.batchNormalizations.get("batch_normalization")!;
 * const y = layer.call(tensor([1, 2, 3, 4, 5, 6], [1, 6]));
 * assertEquals(y.dims, [1, 6]);
 * ```
 */
export async function loadKeras(
  source: KerasSource,
  options: LoadKerasOptions = {},
): Promise<KerasModel> {
  checkLoadOptions(options);
  const files = await openSource(source, { signal: options.signal });
  try {
    const contents = await openContents(files);
    try {
      return await readModel(contents, options);
    } finally {
      contents.close();
    }
  } finally {
    await files.close();
  }
}
