/**
 * TensorFlow.js models: `model.json`, and the files with the weights beside it.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Contents, FileVariable, Weights } from "../contents/contents.ts";
import { GrowingNode } from "../contents/object_tree.ts";
import { type JsonObject, parseJsonObject } from "../files/json.ts";
import { readAll, type SourceFile } from "../files/source_file.ts";
import { GRAPH_FOLLOWS, graphLayers } from "./graph.ts";
import { readManifest, type TfjsWeight } from "./manifest.ts";
import type { OpenBeside } from "./shard_list.ts";
import { readTopology } from "./topology.ts";
import { decodeWeight, isFloat, READ_TYPE } from "./values.ts";

/** A converter's name for a variable of a Keras 3 model: its place in the tree of objects. */
const PLACE = /^(?:(.+)\/)?vars\/(\d+)$/;

function variableOf(weight: TfjsWeight): FileVariable {
  const { name, dtype, dims, byteLength, shards } = weight;
  return {
    name,
    location: name,
    type: isFloat(dtype) ? READ_TYPE : dtype,
    dims,
    async read() {
      const bytes = await shards.read(await weight.offset(), byteLength ?? 0);
      return decodeWeight(weight, bytes);
    },
  };
}

/** The tree of objects that names such as `layers/dense/vars/0` are places in. */
function treeOf(variables: readonly FileVariable[]): Weights {
  const root = new GrowingNode();
  for (const variable of variables) {
    const place = PLACE.exec(variable.name);
    if (!place) continue;
    const node = root.at(place[1] ?? "");
    node.isObject = true;
    node.variables.push({ ...variable, name: place[2]! });
  }
  return { kind: "objects", root };
}

function weightsOf(variables: readonly FileVariable[]): Weights {
  return variables.some(({ name }) => PLACE.test(name))
    ? treeOf(variables)
    : { kind: "named", groups: [{ name: "", location: "", variables }] };
}

/** The text of a JSON file. */
export async function readText(file: SourceFile): Promise<string> {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(
      await readAll(file),
    );
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new FormatError(`Cannot read ${file.name}: expected UTF-8 text`, {
      cause,
    });
  }
}

function layersModel(
  model: JsonObject,
  variables: readonly FileVariable[],
): Contents {
  const { config, kerasVersion, follows } = readTopology(model.modelTopology);
  return {
    format: "tfjs-layers",
    kerasVersion,
    ...(follows === undefined ? {} : { follows }),
    config,
    weights: weightsOf(variables),
    close: () => {},
  };
}

function graphModel(
  model: JsonObject,
  variables: readonly FileVariable[],
): Contents {
  const byName = new Map(variables.map((each) => [each.name, each]));
  return {
    format: "tfjs-graph",
    kerasVersion: undefined,
    follows: GRAPH_FOLLOWS,
    config: undefined,
    weights: {
      kind: "layers",
      layers: graphLayers(model.modelTopology, byName),
    },
    close: () => {},
  };
}

/** Whether JSON is the `model.json` of such a model. */
export function isTfjs({ format, weightsManifest }: JsonObject): boolean {
  return Array.isArray(weightsManifest) || format === "layers-model" ||
    format === "graph-model";
}

/**
 * Opens a TensorFlow.js model. Of the files with its weights, nothing is read
 * before a weight is, and then its bytes only.
 *
 * @param json `model.json`.
 * @param open Opens a file beside it.
 * @returns What is in it.
 *
 * @throws {FormatError} If the JSON is damaged, or its manifest is.
 */
export async function openTfjs(
  json: SourceFile,
  open: OpenBeside,
): Promise<Contents> {
  const model = parseJsonObject(await readText(json), json.name);
  const variables = readManifest(model, open)
    .filter(({ isOptimizers }) => !isOptimizers).map(variableOf);
  const { format, modelTopology } = model;
  const isGraph = format === "graph-model" ||
    // The first converters wrote no format.
    typeof modelTopology === "object" && modelTopology !== null &&
      "node" in modelTopology;
  return isGraph ? graphModel(model, variables) : layersModel(model, variables);
}
