/**
 * TensorFlow's checkpoints: of objects, as `save_weights("ckpt")` and
 * `tf.train.Checkpoint` write them, and of names, as TensorFlow 1's `Saver`
 * does.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import { weightNames } from "../../layer/weights.ts";
import type { Tensor } from "../../tensor.ts";
import type { Contents, FileVariable, Weights } from "../contents/contents.ts";
import { renamed, scopeOf } from "../contents/flat_names.ts";
import { parseJsonObject } from "../files/json.ts";
import { fromLittleEndian, rawType } from "../files/raw_tensor.ts";
import type { SourceFile } from "../files/source_file.ts";
import { type OpenFile, TensorBundle } from "../tensor_bundle/bundle.ts";
import {
  type GraphNode,
  OBJECT_GRAPH_KEY,
  readObjectGraph,
} from "../tensor_bundle/object_graph.ts";
import { isKeras3, type TrackedObject, trackedTree } from "./tracked_tree.ts";

/** The attributes of an object that are a variable's value, and its configuration (TF 1.13). */
const VALUE = "VARIABLE_VALUE";
const CONFIG = "OBJECT_CONFIG_JSON";

/** A variable of a checkpoint, which is not looked at before it is needed. */
class CheckpointVariable implements FileVariable {
  readonly name: string;
  readonly location: string;
  readonly #bundle: TensorBundle;

  constructor(bundle: TensorBundle, name: string, key: string) {
    this.#bundle = bundle;
    this.name = name;
    this.location = key;
  }

  #tensor() {
    const tensor = this.#bundle.get(this.location);
    if (tensor) return tensor;
    throw new FormatError(
      `Cannot read ${this.name}: the checkpoint has no ${this.location}`,
    );
  }

  get type(): string {
    return this.#tensor().type;
  }

  get dims(): readonly number[] {
    return this.#tensor().dims;
  }

  async read(): Promise<Tensor> {
    const { type, dims, read } = this.#tensor();
    const raw = rawType(type);
    if (!raw) {
      throw new FormatError(
        `Cannot read ${this.location}: expected float elements, found ${type}`,
      );
    }
    return { type: raw.type, dims, data: fromLittleEndian(raw, await read()) };
  }
}

/** The variable that an object is, if it is one. */
export function variableOf(
  bundle: TensorBundle,
  { attributes }: GraphNode,
): FileVariable | undefined {
  const value = attributes.find(({ name }) => name === VALUE);
  return value &&
    new CheckpointVariable(bundle, value.fullName || value.key, value.key);
}

/** The configuration that TensorFlow 1.13 to 2.0 saved of an object. */
async function savedConfig(
  bundle: TensorBundle,
  { attributes }: GraphNode,
): Promise<KerasConfig | undefined> {
  const key = attributes.find(({ name }) => name === CONFIG)?.key;
  const text = key === undefined ? undefined : await bundle.string(key);
  return text && parseJsonObject(new TextDecoder().decode(text), key!);
}

/** Whether a model's configuration has its layers. */
export function hasLayers(model: KerasConfig | undefined): boolean {
  const config = model?.config;
  return Array.isArray(config) ||
    isObject(config) && Array.isArray(config.layers);
}

/** Variables that stand for others' moments and averages: `bn/gamma/Adam`. */
function withoutSlots(names: readonly string[]): string[] {
  const all = new Set(names);
  return names.filter((name) => {
    for (
      let slash = name.lastIndexOf("/");
      slash > 0;
      slash = name.lastIndexOf("/", slash - 1)
    ) {
      if (all.has(name.slice(0, slash))) return false;
    }
    return true;
  });
}

/** The variables of a checkpoint that has only names. */
function namedWeights(bundle: TensorBundle): Weights {
  const names = withoutSlots([...bundle.names()]);
  return {
    kind: "flat",
    name: "variables",
    variables: names.map((name) => new CheckpointVariable(bundle, name, name)),
  };
}

/** All variables that hang on an object, by TensorFlow's names for them. */
function listedVariables(
  objects: readonly TrackedObject[],
): FileVariable[] {
  const seen = new Set([0]);
  const found: FileVariable[] = [];
  // A set's iteration goes on with what is added to it.
  for (const id of seen) {
    const { variable, children, isOptimizer } = objects[id]!;
    if (variable) found.push(variable);
    if (!isOptimizer) {
      for (const child of children.values()) seen.add(child);
    }
  }
  return found;
}

/** The order in which Keras lists a BatchNormalization's variables. */
const ORDER: readonly string[] = /* @__PURE__ */ weightNames({
  scale: true,
  center: true,
  renorm: true,
});

/**
 * The variables of a model of which there are no layers, but a list of its
 * variables, as `model.export()` of Keras 3 saves it.
 *
 * Names are the layers' own, without those of the models that they are in, so
 * that several can be the same: the second one's get `#2`. The list is in the
 * layers' order, and each has a moving mean and variance, so that a variable
 * begins another layer where it is not behind the last one of its name.
 */
function exportedVariables(
  objects: readonly TrackedObject[],
): FileVariable[] {
  const list = objects[0]!.children.get("variables");
  const listed = list === undefined
    ? listedVariables(objects)
    : [...objects[list]!.children.values()]
      .flatMap((child) => objects[child]!.variable ?? []);
  const layers = new Map<string, { count: number; names: Set<string> }>();
  return listed.map((variable) => {
    const scope = scopeOf(variable.name);
    const last = variable.name.slice(variable.name.lastIndexOf("/") + 1);
    const layer = layers.get(scope) ?? { count: 1, names: new Set() };
    layers.set(scope, layer);
    const behind = ORDER.slice(Math.max(0, ORDER.indexOf(last)));
    const isNext = ORDER.includes(last)
      ? behind.some((name) => layer.names.has(name))
      : layer.names.has(last);
    if (isNext) {
      layer.count++;
      layer.names.clear();
    }
    layer.names.add(last);
    return layer.count === 1
      ? variable
      : renamed(variable, `${scope}#${layer.count}/${last}`);
  });
}

/** The variables of objects: with their layers where there are some. */
export function trackedWeights(objects: readonly TrackedObject[]): Weights {
  const isNormalization = ({ children }: TrackedObject) =>
    children.has("moving_mean") && children.has("moving_variance");
  if (objects.some((each) => each.entry || isNormalization(each))) {
    return {
      kind: "tracked",
      root: trackedTree(objects),
      release: isKeras3(objects) ? "3" : undefined,
    };
  }
  return {
    kind: "flat",
    name: "variables",
    variables: exportedVariables(objects),
  };
}

/** The object graph of a bundle; undefined if it has only names. */
export async function graphOf(
  bundle: TensorBundle,
): Promise<GraphNode[] | undefined> {
  const bytes = await bundle.string(OBJECT_GRAPH_KEY);
  return bytes && readObjectGraph(bytes);
}

/**
 * The variables of a checkpoint, and the configuration of its model, where it
 * is one of objects that holds it.
 */
export async function checkpointWeights(
  bundle: TensorBundle,
  graph: readonly GraphNode[] | undefined,
): Promise<{ config: KerasConfig | undefined; weights: Weights }> {
  if (!graph) return { config: undefined, weights: namedWeights(bundle) };
  const [root] = graph;
  const model = root && await savedConfig(bundle, root);
  const config = hasLayers(model) ? model : undefined;
  const objects: TrackedObject[] = [];
  for (const node of graph) {
    objects.push({
      children: node.children,
      variable: variableOf(bundle, node),
      // The model's has those of all its layers in it.
      entry: config || node === root
        ? undefined
        : await savedConfig(bundle, node),
      isOptimizer: node.hasSlots,
    });
  }
  return { config, weights: trackedWeights(objects) };
}

/**
 * Reads a checkpoint.
 *
 * @param index The file `ckpt.index`.
 * @param open Opens the files beside it, such as `ckpt.data-00000-of-00001`.
 *
 * @throws {FormatError} If a file is missing, truncated or damaged.
 * @throws {UnsupportedError} If it is of an older or newer format.
 */
export async function openCheckpoint(
  index: SourceFile,
  open: OpenFile,
): Promise<Contents> {
  const bundle = await TensorBundle.open(index, open);
  const graph = await graphOf(bundle);
  return {
    format: graph ? "tf-checkpoint" : "tf-checkpoint-v1",
    kerasVersion: undefined,
    ...await checkpointWeights(bundle, graph),
    close: () => {},
  };
}
