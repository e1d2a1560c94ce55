/**
 * Finds the layers in a file that is a tree of objects: by the configuration
 * where there is one, otherwise by what the groups are called and hold.
 *
 * @module
 */

import type { ObjectNode } from "./contents.ts";
import { type Found, NOTHING_FOUND } from "./found.ts";
import {
  type ConfigLayer,
  isBatchNormalization,
  resemblesBatchNormalization,
} from "./model_config.ts";

/** The lists in which Keras saves a model's layers; 2.12 to 2.14 have the second. */
const LAYER_LISTS = ["layers", "_layer_checkpoint_dependencies"];

/** What else Keras saves with a compiled model. */
const NOT_LAYERS = ["optimizer", "_optimizer", "metrics", "loss_tracker"];

/**
 * The names that Keras makes of a class: `batch_normalization`, `conv2d`.
 * Releases differ in where a digit follows a capital letter.
 */
function snakeNames(className: string): string[] {
  const snake = (word: RegExp) =>
    className.replace(/\W+/g, "").replace(word, "$1_$2")
      .replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
  return [snake(/(.)([A-Z][a-z]+)/g), snake(/(.)([A-Z][a-z0-9]+)/g)];
}

/** The counter of a name: 0 for `dense`, 2 for `dense_2`; undefined for another class. */
function counterOf(
  key: string,
  names: readonly string[],
): number | undefined {
  if (names.includes(key)) return 0;
  const match = /^(.*)_(\d+)$/.exec(key);
  return match && names.includes(match[1]!) ? Number(match[2]) : undefined;
}

/** The object of a layer in a list, or undefined. */
function findInList(
  list: ObjectNode,
  layer: ConfigLayer,
  siblings: readonly ConfigLayer[],
): ObjectNode | undefined {
  const members = [...list.children.values()];
  const named = members.find((member) => member.name === layer.name);
  // A file with names has them for all layers: one that is not there is the
  // same as another one elsewhere.
  if (named || members.some((member) => member.name !== undefined)) {
    return named;
  }
  const names = snakeNames(layer.className);
  const ofClass = siblings.filter((sibling) =>
    sibling.attribute === layer.attribute &&
    snakeNames(sibling.className).some((name) => names.includes(name))
  );
  const objects = members.flatMap((member) => {
    const counter = counterOf(member.key, names);
    return counter === undefined ? [] : [{ member, counter }];
  }).sort((a, b) => a.counter - b.counter);
  const index = ofClass.indexOf(layer);
  // As many as there are layers of the class: whatever the counters are
  // (Keras 2.12 counts layers with weights twice), they rise in model order.
  if (objects.length === ofClass.length) return objects[index]?.member;
  return objects.find(({ counter }) => counter === index)?.member;
}

/** The object of a layer within that of the layer, or model, that contains it. */
function findObject(
  container: ObjectNode | undefined,
  layer: ConfigLayer,
  siblings: readonly ConfigLayer[],
): ObjectNode | undefined {
  if (!container) return undefined;
  const { attribute, inList } = layer;
  if (!inList) {
    // Bidirectional keeps a copy of what it is given.
    return container.children.get(attribute) ??
      container.children.get(`forward_${attribute}`);
  }
  const lists = attribute === "layers" ? LAYER_LISTS : [attribute];
  for (const name of lists) {
    const list = container.children.get(name);
    const object = list && findInList(list, layer, siblings);
    if (object) return object;
  }
  return undefined;
}

/** The path of names of an object: lists have none of their own where their members have. */
function namesBelow(node: ObjectNode, path: readonly string[]): string[] {
  if (node.name !== undefined) return [...path, node.name];
  if (!node.isObject && LAYER_LISTS.includes(node.key)) return [...path];
  return [...path, node.key];
}

/** All objects below one, as layers without a configuration. */
function* objectsBelow(
  node: ObjectNode,
  path: readonly string[],
  skip: (child: ObjectNode) => boolean = () => false,
): Generator<Found> {
  for (const child of node.children.values()) {
    if (skip(child)) continue;
    const here = namesBelow(child, path);
    if (child.isObject) {
      yield {
        ...NOTHING_FOUND,
        name: here[here.length - 1]!,
        path: here,
        location: child.location,
        get variables() {
          return child.variables;
        },
      };
    }
    // A list's own name says nothing where its members have names.
    const named = [...child.children.values()].some(({ name }) =>
      name !== undefined
    );
    yield* objectsBelow(child, child.isObject || !named ? here : path, skip);
  }
}

class TreeMatcher {
  readonly #used = new Set<ObjectNode>();
  readonly #loaded = new Set<string>();
  readonly #root: ObjectNode;

  constructor(root: ObjectNode) {
    this.#root = root;
  }

  *model(layers: readonly ConfigLayer[]): Generator<Found> {
    yield* this.#list(this.#root, layers);
    yield* this.#rest(this.#root, [], layers);
  }

  *#list(
    container: ObjectNode | undefined,
    layers: readonly ConfigLayer[],
  ): Generator<Found> {
    for (const layer of layers) {
      yield* this.#layer(layer, findObject(container, layer, layers));
    }
  }

  *#layer(layer: ConfigLayer, node: ObjectNode | undefined): Generator<Found> {
    const { name, path, className, config, entry } = layer;
    const same = JSON.stringify(entry);
    if (node) this.#used.add(node);
    // Keras saves a layer once, where it comes first.
    else if (this.#loaded.has(same)) return;
    this.#loaded.add(same);
    const certain = isBatchNormalization(layer);
    const possible = !certain && resemblesBatchNormalization(layer);
    yield {
      ...NOTHING_FOUND,
      name,
      path,
      className,
      config,
      entry,
      location: node?.location,
      get variables() {
        return node?.variables ?? [];
      },
      verdict: certain ? "certain" : possible ? "possible" : "other",
      reason: possible
        ? `the class ${className} is not Keras' own, but has a BatchNormalization's configuration`
        : undefined,
    };
    yield* this.#list(node, layer.children);
    if (node) yield* this.#rest(node, path, layer.children);
  }

  /** Objects inside a custom layer or model, which no configuration describes. */
  *#rest(
    node: ObjectNode,
    path: readonly string[],
    layers: readonly ConfigLayer[],
  ): Generator<Found> {
    const lists = layers.some((layer) => layer.inList) ? LAYER_LISTS : [];
    yield* objectsBelow(
      node,
      path,
      (child) =>
        this.#used.has(child) || lists.includes(child.key) ||
        node === this.#root && NOT_LAYERS.includes(child.key),
    );
  }
}

/**
 * The layers of a tree of objects: in the model's order with a
 * configuration, and without one in the file's.
 *
 * @param root The model.
 * @param layers The configuration's layers, where there is one.
 */
export function matchObjects(
  root: ObjectNode,
  layers: readonly ConfigLayer[] | undefined,
): Found[] {
  if (layers?.length) {
    return [...new TreeMatcher(root).model(layers)];
  }
  return [
    ...objectsBelow(root, [], (child) => NOT_LAYERS.includes(child.key)),
  ];
}
