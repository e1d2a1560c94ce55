/**
 * The graph of objects that TensorFlow keeps beside variables: in a
 * checkpoint to find them again, in a SavedModel to make them again.
 *
 * @see https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/trackable_object_graph.proto
 * @see https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/saved_object_graph.proto
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { readFields, type WireField } from "../../onnx/wire_reader.ts";

/** The key of a checkpoint's graph. */
export const OBJECT_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH";

/** A value that an object saved in the checkpoint. */
export interface GraphAttribute {
  /** `VARIABLE_VALUE` for a variable's. */
  readonly name: string;
  /** What TensorFlow 1 would call the variable: `bn/gamma`. */
  readonly fullName: string;
  /** Its key in the checkpoint. */
  readonly key: string;
}

/** An object. */
export interface GraphNode {
  /** What hangs on it: the numbers of other objects, in the file's order. */
  readonly children: ReadonlyMap<string, number>;
  /** What it saved; none in a SavedModel's graph. */
  readonly attributes: readonly GraphAttribute[];
  /** Whether it has slots for other objects' variables, as optimizers do. */
  readonly hasSlots: boolean;
  /** What a SavedModel says about how to make it, in Keras' JSON. */
  readonly metadata: string | undefined;
}

/**
 * As many objects as a graph may have, and as many places where they hang on
 * others: a SavedModel has some twenty for each layer, and an object that is
 * empty takes two bytes of a file, but hundreds in memory.
 */
const MAX_NODES = 200_000;
const MAX_CHILDREN = 1_000_000;

const NO_CHILDREN: ReadonlyMap<string, number> = new Map();
const NO_ATTRIBUTES: readonly GraphAttribute[] = [];

/** The fields of the two graphs, which otherwise are alike. */
interface Schema {
  readonly attributes?: number;
  readonly userObject?: number;
}

/** Field 1 is children and field 3 slot variables in both. */
const CHECKPOINT: Schema = { attributes: 2 };
const SAVED_MODEL: Schema = { userObject: 4 };

/** Metadata of Keras' objects, and not of lists and the like. */
const KERAS_IDENTIFIER = /^_tf_keras_/;

function readChild(field: WireField): readonly [string, number] {
  let id = 0;
  let name = "";
  for (const part of field.fields()) {
    if (part.number === 1) id = part.integer();
    else if (part.number === 2) name = part.string();
  }
  return [name, id];
}

function readAttribute(field: WireField): GraphAttribute {
  let name = "";
  let fullName = "";
  let key = "";
  for (const part of field.fields()) {
    if (part.number === 1) name = part.string();
    else if (part.number === 2) fullName = part.string();
    else if (part.number === 3) key = part.string();
  }
  return { name, fullName, key };
}

function readUserObject(field: WireField): string | undefined {
  let identifier = "";
  let metadata = "";
  for (const part of field.fields()) {
    if (part.number === 1) identifier = part.string();
    else if (part.number === 3) metadata = part.string();
  }
  return KERAS_IDENTIFIER.test(identifier) && metadata !== ""
    ? metadata
    : undefined;
}

function readNode(field: WireField, schema: Schema, at: number): GraphNode {
  let children: Map<string, number> | undefined;
  let attributes: GraphAttribute[] | undefined;
  let hasSlots = false;
  let metadata: string | undefined;
  for (const part of field.fields()) {
    if (part.number === 1) {
      const [name, id] = readChild(part);
      children ??= new Map();
      if ((children.get(name) ?? id) !== id) {
        throw new FormatError(
          `Cannot read the object graph: object ${at} has two different children ${
            JSON.stringify(name.slice(0, 80))
          }; it is damaged`,
        );
      }
      children.set(name, id);
    } else if (part.number === schema.attributes) {
      (attributes ??= []).push(readAttribute(part));
    } else if (part.number === 3) hasSlots = true;
    else if (part.number === schema.userObject) metadata = readUserObject(part);
  }
  return {
    children: children ?? NO_CHILDREN,
    attributes: attributes ?? NO_ATTRIBUTES,
    hasSlots,
    metadata,
  };
}

function readGraph(bytes: Uint8Array, schema: Schema): GraphNode[] {
  const nodes: GraphNode[] = [];
  let links = 0;
  for (const field of readFields(bytes)) {
    if (field.number !== 1) continue;
    if (nodes.length === MAX_NODES) {
      throw new FormatError(
        `Cannot read the object graph: it has more than ${MAX_NODES} objects`,
      );
    }
    const node = readNode(field, schema, nodes.length);
    nodes.push(node);
    links += node.children.size;
    if (links > MAX_CHILDREN) {
      throw new FormatError(
        `Cannot read the object graph: it has more than ${MAX_CHILDREN} children of objects`,
      );
    }
  }
  for (const { children } of nodes) {
    for (const [name, id] of children) {
      if (id >= 0 && id < nodes.length) continue;
      throw new FormatError(
        `Cannot read the object graph: ${
          JSON.stringify(name.slice(0, 80))
        } is object ${id} of ${nodes.length}; it is damaged`,
      );
    }
  }
  return nodes;
}

/**
 * Reads the graph of a checkpoint.
 *
 * @param bytes What is at {@linkcode OBJECT_GRAPH_KEY}.
 * @returns The objects; the first is the one that was saved.
 *
 * @throws {FormatError} If it is truncated or damaged.
 */
export function readObjectGraph(bytes: Uint8Array): GraphNode[] {
  return readGraph(bytes, CHECKPOINT);
}

/**
 * Reads the graph of a SavedModel.
 *
 * @param bytes The `object_graph_def` of its `MetaGraphDef`.
 * @returns The objects; the first is the model.
 *
 * @throws {FormatError} If it is truncated or damaged.
 */
export function readSavedObjectGraph(bytes: Uint8Array): GraphNode[] {
  return readGraph(bytes, SAVED_MODEL);
}
