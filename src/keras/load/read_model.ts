/**
 * What `loadKeras` gives of an open file: its layers as they are described,
 * and those that are made.
 *
 * @module
 */

import { OptionError, ShapeError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import {
  type KerasVersion,
  kerasVersionOf,
} from "../../layer/keras_version.ts";
import type {
  Contents,
  FileVariable,
  ObjectNode,
} from "../contents/contents.ts";
import type { Found } from "../contents/found.ts";
import { givenConfig } from "../model/config.ts";
import { inferRanks } from "../model/infer_rank.ts";
import { type InputShape, shapeOfRank } from "../model/least_shape.ts";
import { findLayers } from "./find_layers.ts";
import { type MadeLayer, type MakeContext, makeLayer } from "./make_layer.ts";
import { type Keyed, namedLayers, select } from "./selection.ts";
import type {
  KerasLayer,
  KerasModel,
  KerasWeight,
  LoadKerasOptions,
} from "./types.ts";

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
