/**
 * The objects that TensorFlow tracks, as a tree of Keras' layers.
 *
 * They are a graph: a model's layers hang on it as `layer-3`, as
 * `layer_with_weights-1` and perhaps as an attribute, and in a SavedModel its
 * variables hang on lists of every container as well. An object's place in the
 * tree is the shortest path to it, and of those the first, as in the keys of a
 * checkpoint.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import { type WeightName, weightNames } from "../../layer/weights.ts";
import type { FileVariable, ObjectNode } from "../contents/contents.ts";

/** An object of the graph. */
export interface TrackedObject {
  /** What hangs on it, by number, in the file's order. */
  readonly children: ReadonlyMap<string, number>;
  /** The variable that it is, by what TensorFlow 1 would call it: `bn/gamma`. */
  readonly variable: FileVariable | undefined;
  /** The serialized layer that it is, where the file says so. */
  readonly entry: KerasConfig | undefined;
  /** Whether it is an optimizer, whose slots are no layer's variables. */
  readonly isOptimizer: boolean;
}

/** No model is nested deeper. */
const MAX_DEPTH = 64;

/** What a BatchNormalization calls its variables. */
const ROLES: readonly string[] = /* @__PURE__ */ weightNames({
  scale: true,
  center: true,
  renorm: true,
});

/** What Keras hangs on its layers for itself: lists of what is elsewhere as well. */
const NOT_LAYERS = [
  "keras_api",
  "signatures",
  "variables",
  "trainable_variables",
  "non_trainable_variables",
  "_all_variables",
  "regularization_losses",
  "optimizer",
  "_optimizer",
];

/** The lists of all layers of a Keras 3 model. */
const KERAS_3_LISTS = ["_operations", "_layers"];
/** Where Keras 3's Sequential has its layers. */
const FUNCTIONAL = "_functional";
const KERAS_3 = /* @__PURE__ */ KERAS_3_LISTS.concat(FUNCTIONAL);
/** A layer of a Keras 2 model. */
const PLACE = /^layer-(\d+)$/;
/** The key of the list that `match/objects.ts` looks for. */
const LAYERS = "layers";

/** An object's place in the tree. */
interface Place {
  readonly id: number;
  readonly key: string;
  readonly location: string;
  /** Its place among the layers of the object that it hangs on. */
  readonly index: number | undefined;
  readonly children: Place[];
}

/** The scope that an object's own variables have in front, if they agree. */
function scopeOf(variables: readonly FileVariable[]): string | undefined {
  const scopes = new Set(
    variables.map(({ name }) =>
      name.slice(0, Math.max(0, name.lastIndexOf("/")))
    ),
  );
  const [scope, ...others] = scopes;
  return scope && others.length === 0 ? scope : undefined;
}

function nameInConfig(entry: KerasConfig | undefined): string | undefined {
  const config = entry?.config;
  return isObject(config) && typeof config.name === "string"
    ? config.name
    : undefined;
}

const NO_VARIABLES: readonly FileVariable[] = [];
const NO_NODES: ReadonlyMap<string, ObjectNode> = new Map();

/**
 * A layer that hangs on several objects, where it is not in the tree. A class,
 * since there can be as many as the square of a file's objects.
 */
class SecondPlace implements ObjectNode {
  readonly index: number;
  readonly #owner: () => ObjectNode | undefined;

  constructor(index: number, owner: () => ObjectNode | undefined) {
    this.index = index;
    this.#owner = owner;
  }

  get sameAs(): ObjectNode {
    return this.#owner() ?? this;
  }

  get key(): string {
    return `layer-${this.index}`;
  }

  get location(): string {
    return "";
  }

  get isObject(): boolean {
    return false;
  }

  get name(): undefined {
    return undefined;
  }

  get variables(): readonly FileVariable[] {
    return NO_VARIABLES;
  }

  get children(): ReadonlyMap<string, ObjectNode> {
    return NO_NODES;
  }
}

class TreeBuilder {
  readonly #objects: readonly TrackedObject[];
  readonly #nodes = new Map<number, ObjectNode>();
  readonly #withContent = new Set<number>();
  /** Scopes that are no layer's name: Keras 3 can give all layers their model's. */
  readonly #sharedScopes = new Set<string>();

  constructor(objects: readonly TrackedObject[]) {
    this.#objects = objects;
  }

  build(): ObjectNode {
    const places = this.#places();
    for (const { children } of places) {
      const scopes = new Set<string>();
      for (const { id } of children) {
        const scope = scopeOf(this.#variablesOf(id).map(([, each]) => each));
        if (scope === undefined) continue;
        if (scopes.has(scope)) this.#sharedScopes.add(scope);
        scopes.add(scope);
      }
    }
    // What hangs on an object comes behind it, and is made before it.
    for (const place of places.reverse()) {
      this.#nodes.set(place.id, this.#nodeAt(place));
    }
    return this.#nodes.get(0)!;
  }

  /** Gives every object its place, in the order of their distance from the root. */
  #places(): Place[] {
    const root = { id: 0, key: "", location: "", index: undefined };
    const all: Place[] = [{ ...root, children: [] }];
    const found = new Set([0]);
    let level = all.slice();
    for (let depth = 0; level.length > 0; depth++) {
      if (depth > MAX_DEPTH) {
        throw new FormatError(
          `Cannot read the object graph: ${
            level[0]!.location.slice(0, 80)
          } is nested more than ${MAX_DEPTH} deep`,
        );
      }
      const next: Place[] = [];
      for (const parent of level) {
        const indices = this.#layersOf(parent.id);
        for (const [key, id] of this.#edges(parent.id)) {
          if (found.has(id)) continue;
          found.add(id);
          const location = parent.location ? `${parent.location}/${key}` : key;
          const index = indices.get(id);
          const child = { id, key, location, index, children: [] };
          parent.children.push(child);
          next.push(child);
        }
      }
      for (const place of next) all.push(place);
      level = next;
    }
    return all;
  }

  /** What hangs on an object and can be a layer, or hold some. */
  *#edges(id: number): Generator<readonly [key: string, id: number]> {
    const { children } = this.#objects[id]!;
    for (const [name, child] of children) {
      const { variable, isOptimizer } = this.#objects[child]!;
      const isElsewhere = NOT_LAYERS.includes(name) || KERAS_3.includes(name);
      if (!variable && !isOptimizer && !isElsewhere) yield [name, child];
    }
    // Behind the attributes, since those are names that somebody chose.
    for (const [name, list] of this.#listsOf(id)) {
      for (const [key, child] of this.#objects[list]!.children) {
        if (!this.#objects[child]!.variable) yield [`${name}/${key}`, child];
      }
    }
  }

  /** The lists of layers of a Keras 3 model; Sequential's are in the functional model that it is. */
  #listsOf(id: number): (readonly [name: string, id: number])[] {
    const { children } = this.#objects[id]!;
    const functional = children.get(FUNCTIONAL);
    const own = KERAS_3_LISTS.filter((name) => children.has(name))
      .map((name) => [name, children.get(name)!] as const);
    if (own.length > 0 || functional === undefined) return own;
    const inside = this.#objects[functional]!.children;
    return KERAS_3_LISTS.filter((name) => inside.has(name))
      .map((name) => [`${FUNCTIONAL}/${name}`, inside.get(name)!] as const);
  }

  /** The layers of a model with their places in it; none for other objects. */
  #layersOf(id: number): Map<number, number> {
    const layers = new Map<number, number>();
    for (const [name, child] of this.#objects[id]!.children) {
      const [, index] = PLACE.exec(name) ?? [];
      if (index !== undefined) layers.set(child, Number(index));
    }
    const [list] = this.#listsOf(id);
    if (layers.size > 0 || !list) return layers;
    for (const [key, child] of this.#objects[list[1]]!.children) {
      if (/^\d+$/.test(key)) layers.set(child, Number(key));
    }
    return layers;
  }

  /** The variables that hang on an object itself, and what as. */
  #variablesOf(id: number): (readonly [name: string, FileVariable])[] {
    const variables: (readonly [string, FileVariable])[] = [];
    for (const [name, child] of this.#objects[id]!.children) {
      const { variable } = this.#objects[child]!;
      if (variable) variables.push([name, variable]);
    }
    return variables;
  }

  #nameOf(variables: readonly FileVariable[]): string | undefined {
    const scope = scopeOf(variables);
    return scope === undefined || this.#sharedScopes.has(scope)
      ? undefined
      : scope.slice(scope.lastIndexOf("/") + 1);
  }

  #nodeAt(place: Place): ObjectNode {
    const { id, key, location, index } = place;
    const { children: edges, entry } = this.#objects[id]!;
    const named = this.#variablesOf(id);
    const variables = named.map(([, variable]) => variable);
    const roles = new Map(
      named.filter(([name]) => ROLES.includes(name)) as [
        WeightName,
        FileVariable,
      ][],
    );
    const hasContent = entry !== undefined || variables.length > 0 ||
      place.children.some((child) => this.#withContent.has(child.id));
    if (hasContent) this.#withContent.add(id);
    const isList = [...edges.keys()].every((name) => /^\d+$/.test(name));
    const isNormalization = roles.has("moving_mean") &&
      roles.has("moving_variance");
    return {
      key: key.slice(key.lastIndexOf("/") + 1),
      location,
      isObject: entry !== undefined || hasContent && !isList,
      name: nameInConfig(entry) ?? this.#nameOf(variables),
      variables,
      children: this.#childrenOf(place),
      ...(isNormalization ? { roles } : {}),
      entry,
      ...(index === undefined ? {} : { index }),
    };
  }

  #childrenOf({ id, location, children }: Place): Map<string, ObjectNode> {
    const layers = new Map<string, ObjectNode>();
    const others = new Map<string, ObjectNode>();
    for (const child of children) {
      const node = this.#nodes.get(child.id)!;
      if (child.index !== undefined) layers.set(child.key, node);
      else if (this.#withContent.has(child.id)) others.set(child.key, node);
    }
    const own = new Set(children.map((child) => child.id));
    for (const [layer, index] of this.#layersOf(id)) {
      if (own.has(layer)) continue;
      layers.set(
        `layer-${index}`,
        new SecondPlace(index, () => this.#nodes.get(layer)),
      );
    }
    if (layers.size === 0) return others;
    const list: ObjectNode = {
      key: LAYERS,
      location,
      isObject: false,
      name: undefined,
      variables: [],
      children: new Map(
        [...layers].sort(([, a], [, b]) => a.index! - b.index!),
      ),
    };
    // An attribute that is called so as well must not hide it.
    const attribute = others.get(LAYERS);
    if (attribute) others.delete(LAYERS);
    return new Map([
      [LAYERS, list],
      ...others,
      ...(attribute ? [[`${LAYERS}#2`, attribute] as const] : []),
    ]);
  }
}

/**
 * The tree of a graph of objects.
 *
 * @param objects The objects; the first is the root.
 *
 * @throws {FormatError} If there is none, or they are nested too deep.
 */
export function trackedTree(objects: readonly TrackedObject[]): ObjectNode {
  if (objects.length === 0) {
    throw new FormatError("Cannot read the object graph: it has no objects");
  }
  return new TreeBuilder(objects).build();
}

/** Whether the objects are those of a Keras 3 model. */
export function isKeras3(objects: readonly TrackedObject[]): boolean {
  return objects.some(({ children }) => children.has("_operations"));
}
