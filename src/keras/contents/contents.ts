/**
 * What a format's reader gives: the variables in a file, before anything is
 * known about layers.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";
import type { WeightName } from "../../layer/weights.ts";
import type { Tensor } from "../../tensor.ts";
import type { Found } from "./found.ts";
import type { KerasFormat } from "./keras_format.ts";

/** One variable; it is read when it is needed. */
export interface FileVariable {
  /** The name that the file gives it; a number where it has none. */
  readonly name: string;
  /** Where it is in the file. */
  readonly location: string;
  /** The element type, in numpy's words. */
  readonly type: string;
  /** The extents. */
  readonly dims: readonly number[];
  /** Reads it. */
  read(): Tensor | Promise<Tensor>;
}

/**
 * The variables of one top-level layer, by names such as
 * `inner_block/bn/gamma:0`. A nested model is one group.
 */
export interface NamedGroup {
  /** The layer's name. */
  readonly name: string;
  /** Where it is in the file. */
  readonly location: string;
  /** Its variables, in the file's order. */
  readonly variables: readonly FileVariable[];
}

/**
 * One object of Keras' tree of objects, which Keras 2.12 and later save by
 * attribute: `layers/batch_normalization_1`, `encoder/norm`.
 */
export interface ObjectNode {
  /** The attribute, or the name in a list. */
  readonly key: string;
  /** Where it is in the file, without a leading slash; empty for the model. */
  readonly location: string;
  /** Whether it is an object with variables of its own, perhaps none, and not a list. */
  readonly isObject: boolean;
  /** The layer's name, which Keras 3.6 and later store. */
  readonly name: string | undefined;
  /** Its own variables, numbered in Keras' order. */
  readonly variables: readonly FileVariable[];
  /** What hangs on it, in the file's order. */
  readonly children: ReadonlyMap<string, ObjectNode>;
  /** Its own variables by role, where the file names them. */
  readonly roles?: ReadonlyMap<WeightName, FileVariable> | undefined;
  /** The serialized layer, `{ class_name, config }`, where the file holds it with the object. */
  readonly entry?: KerasConfig | undefined;
  /** Its place among the layers of its model, where the file tells. */
  readonly index?: number;
  /** The object that it is, where this is a second place of one. */
  readonly sameAs?: ObjectNode;
}

/**
 * Variables that somebody wrote without Keras: by names such as `bn/gamma` or
 * `layers.3.gamma`, or by numbers, as `get_weights()` gives them.
 */
export interface FlatVariables {
  /** What to call the layer of variables that are alone: the file's name, without its ending. */
  readonly name: string;
  /** All variables, in the file's order. */
  readonly variables: readonly FileVariable[];
}

/**
 * The objects that TensorFlow tracks: a tree as Keras', but of every release,
 * in which variables have names and layers their places in the model.
 */
export interface TrackedObjects {
  readonly kind: "tracked";
  readonly root: ObjectNode;
  /** The release whose objects are like that, where they tell. */
  readonly release: KerasVersion | undefined;
}

/**
 * The variables of a file: in one of the ways in which Keras and TensorFlow
 * save them, or in somebody else's.
 */
export type Weights =
  | { readonly kind: "named"; readonly groups: readonly NamedGroup[] }
  | { readonly kind: "objects"; readonly root: ObjectNode }
  | TrackedObjects
  | ({ readonly kind: "flat" } & FlatVariables)
  // The reader has found the layers by itself.
  | { readonly kind: "layers"; readonly layers: readonly Found[] };

/** What a format's reader gives. */
export interface Contents {
  readonly format: KerasFormat;
  /** The release that wrote the file. */
  readonly kerasVersion: string | undefined;
  /** The release whose layers compute as the file's writer does, where that is not Keras. */
  readonly follows?: KerasVersion;
  /** The model's configuration. */
  readonly config: KerasConfig | undefined;
  readonly weights: Weights;
  /** Frees the file; variables must not be read afterwards. */
  close(): void;
}
