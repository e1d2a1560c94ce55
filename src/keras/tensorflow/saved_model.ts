/**
 * TensorFlow's SavedModel: a folder with `saved_model.pb`, since Keras 2.5
 * `keras_metadata.pb`, and a checkpoint in `variables`.
 *
 * @see https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_model.proto
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import { readFields, type WireField } from "../../onnx/wire_reader.ts";
import type { Contents, FileVariable } from "../contents/contents.ts";
import { parseJsonObject } from "../files/json.ts";
import { readAll } from "../files/source_file.ts";
import { type OpenFile, TensorBundle } from "../tensor_bundle/bundle.ts";
import {
  type GraphNode,
  readSavedObjectGraph,
} from "../tensor_bundle/object_graph.ts";
import {
  checkpointWeights,
  graphOf,
  hasLayers,
  trackedWeights,
  variableOf,
} from "./checkpoint.ts";
import type { TrackedObject } from "./tracked_tree.ts";

/** The names of a SavedModel's files. */
const MODEL = "saved_model.pb";
const METADATA = "keras_metadata.pb";
const VARIABLES = "variables";
const INDEX = "variables.index";

/** The tag of the graph that is for inference. */
const SERVE = "serve";

/** One of the graphs of a SavedModel. */
interface MetaGraph {
  readonly tags: readonly string[];
  readonly tensorflowVersion: string | undefined;
  /** Its objects; undefined before TensorFlow 2. */
  readonly objects: Uint8Array | undefined;
}

/** Whether files, by their names, are those of a SavedModel. */
export function isSavedModel(names: Iterable<string>): boolean {
  return [...names].some((name) => /(^|[/\\])saved_model\.pb$/.test(name));
}

function readMetaGraph(graph: WireField): MetaGraph {
  const tags: string[] = [];
  let tensorflowVersion: string | undefined;
  let objects: Uint8Array | undefined;
  for (const field of graph.fields()) {
    if (field.number === 1) {
      for (const part of field.fields()) {
        if (part.number === 4) tags.push(part.string());
        else if (part.number === 5) tensorflowVersion = part.string();
      }
    } else if (field.number === 7) objects = field.data();
  }
  return { tags, tensorflowVersion, objects };
}

function readMetaGraphs(bytes: Uint8Array): MetaGraph[] {
  const graphs: MetaGraph[] = [];
  for (const field of readFields(bytes)) {
    if (field.number === 2) graphs.push(readMetaGraph(field));
  }
  return graphs;
}

/** Keras' metadata of the objects, by their numbers. */
function readMetadata(bytes: Uint8Array): Map<number, string> {
  const metadata = new Map<number, string>();
  for (const field of readFields(bytes)) {
    if (field.number !== 1) continue;
    let id = 0;
    let text = "";
    for (const part of field.fields()) {
      if (part.number === 2) id = part.integer();
      else if (part.number === 5) text = part.string();
    }
    if (text !== "") metadata.set(id, text);
  }
  return metadata;
}

/**
 * The shape that a layer was built with, as Keras writes it. A model that was
 * never functional has the size of its first batch there, which binds nothing.
 */
function builtShape({ build_input_shape: shape }: KerasConfig): unknown {
  if (!isObject(shape) || !Array.isArray(shape.items)) return undefined;
  return [null, ...shape.items.slice(1)];
}

/** What the metadata says as a serialized layer; undefined for what is none. */
function entryOf(metadata: KerasConfig): KerasConfig | undefined {
  const { class_name, config, name } = metadata;
  if (typeof class_name !== "string") return undefined;
  const shape = builtShape(metadata);
  const isGiven = isObject(config) && typeof config.name === "string";
  return {
    class_name,
    // Of a class without get_config there is the name alone.
    ...(isGiven ? { config } : {}),
    ...(typeof name === "string" ? { name } : {}),
    ...(shape === undefined ? {} : { build_config: { input_shape: shape } }),
  };
}

/**
 * The objects of a SavedModel with the variables of its checkpoint. The two
 * number objects differently; they are the same where the same names lead.
 */
function joinVariables(
  bundle: TensorBundle,
  saved: readonly GraphNode[],
  restored: readonly GraphNode[],
): Map<number, FileVariable> {
  const partner = new Map<number, number>([[0, 0]]);
  const variables = new Map<number, FileVariable>();
  // A map's iteration goes on with what is added to it.
  for (const [id, other] of partner) {
    const variable = variableOf(bundle, restored[other]!);
    if (variable) variables.set(id, variable);
    for (const [name, child] of saved[id]!.children) {
      const match = restored[other]!.children.get(name);
      if (match !== undefined && !partner.has(child)) partner.set(child, match);
    }
  }
  return variables;
}

/** The release, where Keras itself does not tell: tf.keras was TensorFlow's own up to 2.15. */
function releaseOf(tensorflow: string | undefined): string | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)\./.exec(tensorflow ?? "") ?? [];
  return Number(major) === 2 && Number(minor) <= 15 ? tensorflow : undefined;
}

/**
 * Reads a SavedModel.
 *
 * @param open Opens a file of its folder, such as `saved_model.pb` and
 * `variables/variables.index`.
 *
 * @throws {FormatError} If a file is missing, truncated or damaged.
 */
export async function openSavedModel(open: OpenFile): Promise<Contents> {
  const file = await open(MODEL);
  if (!file) {
    throw new FormatError(
      `Cannot read the SavedModel: expected ${MODEL} in it, there is no such file`,
    );
  }
  const graphs = readMetaGraphs(await readAll(file));
  const graph = graphs.find(({ tags }) => tags.includes(SERVE)) ?? graphs[0];
  const index = await open(`${VARIABLES}/${INDEX}`);
  if (!graph || !index) {
    throw new FormatError(
      graph
        ? `Cannot read the SavedModel: expected ${VARIABLES}/${INDEX} beside ${MODEL}, there is no such file; it has no variables, or a map lacks them`
        : `Cannot read ${file.name}: expected a SavedModel, found no graph in it`,
    );
  }
  const bundle = await TensorBundle.open(
    index,
    (name) => open(`${VARIABLES}/${name}`),
  );
  const common = { format: "saved-model", close: () => {} } as const;
  const restored = await graphOf(bundle);
  const saved = graph.objects && readSavedObjectGraph(graph.objects);
  if (!saved?.length || !restored?.length) {
    return {
      ...common,
      kerasVersion: releaseOf(graph.tensorflowVersion),
      ...await checkpointWeights(bundle, restored),
    };
  }
  const metadataFile = await open(METADATA);
  const texts = metadataFile
    ? readMetadata(await readAll(metadataFile))
    : new Map(
      saved.flatMap(({ metadata }, id) =>
        metadata === undefined ? [] : [[id, metadata] as const]
      ),
    );
  const metadata = new Map<number, KerasConfig>();
  for (const [id, text] of texts) {
    const what = `Keras' metadata of object ${id} of the SavedModel`;
    metadata.set(id, parseJsonObject(text, what));
  }
  const variables = joinVariables(bundle, saved, restored);
  const objects = saved.map(({ children, hasSlots }, id): TrackedObject => ({
    children,
    variable: variables.get(id),
    entry: metadata.has(id) ? entryOf(metadata.get(id)!) : undefined,
    isOptimizer: hasSlots,
  }));
  const root = metadata.get(0);
  const model = isObject(root?.model_config)
    ? root.model_config
    : root && entryOf(root);
  const { keras_version } = root ?? {};
  return {
    ...common,
    kerasVersion: typeof keras_version === "string"
      ? keras_version
      : metadata.size > 0
      ? releaseOf(graph.tensorflowVersion)
      : undefined,
    config: hasLayers(model) ? model : undefined,
    weights: trackedWeights(objects),
  };
}
