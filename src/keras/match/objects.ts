/**
 * Finds the layers in a file that is a tree of objects: by the configuration
 * where there is one, otherwise by what the groups are called and hold.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { ObjectNode } from "../contents/contents.ts";
import { type Found, NOTHING_FOUND } from "../contents/found.ts";
import {
  type ConfigLayer,
  isBatchNormalization,
  resemblesBatchNormalization,
} from "../model/config.ts";
import { openAxes } from "./recognize.ts";
import { flagsOf } from "./weight_scopes.ts";

/** The lists in which Keras saves a model's layers; 2.12 to 2.14 have the second. */
const LAYER_LISTS = ["layers", "_layer_checkpoint_dependencies"];

const BY_NAMES = "its variables are named as a BatchNormalization's are";

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

/**
 * The layers of a configuration that have a place in a list; undefined if
 * they are not as many as its members.
 */
function placesOf(
  list: ObjectNode,
  layers: readonly ConfigLayer[],
): readonly ConfigLayer[] | undefined {
  const isInput = ({ className }: ConfigLayer) => className === "InputLayer";
  // Keras 2's Sequential does not count the input as a layer.
  return [layers, layers.filter((each) => !isInput(each))]
    .find(({ length }) => length === list.children.size);
}

/**
 * The object of a layer in a list whose members know their places.
 *
 * @throws {FormatError} If the list has more or fewer members than the model
 * has layers.
 */
function findByPlace(
  list: ObjectNode,
  layer: ConfigLayer,
  siblings: readonly ConfigLayer[],
): ObjectNode | undefined {
  const layers = siblings.filter(({ attribute }) =>
    attribute === layer.attribute
  );
  const places = placesOf(list, layers);
  if (!places) {
    throw new FormatError(
      `Cannot find the layers of the configuration in the file: it has ${layers.length} where the file has ${list.children.size}${
        list.location ? ` in ${list.location}` : ""
      }; it is another model's`,
    );
  }
  const place = places.indexOf(layer);
  const member = [...list.children.values()]
    .find(({ index }) => index === place);
  return member?.sameAs ?? member;
}

/** The object of a layer in a list, or undefined. */
function findInList(
  list: ObjectNode,
  layer: ConfigLayer,
  siblings: readonly ConfigLayer[],
): ObjectNode | undefined {
  const members = [...list.children.values()];
  if (members.some(({ index }) => index !== undefined)) {
    return findByPlace(list, layer, siblings);
  }
  const named = members.find((member) => member.name === layer.name);
  if (named) return named;
  // A file with names has them for all objects with variables, and unless it
  // is in shards for all layers: one that is not there is the same as another
  // one elsewhere.
  const taken = new Set(members.map((member) => member.name));
  const unnamed = members.filter((member) => member.name === undefined);
  const names = snakeNames(layer.className);
  const ofClass = siblings.filter((sibling) =>
    sibling.attribute === layer.attribute && !taken.has(sibling.name) &&
    snakeNames(sibling.className).some((name) => names.includes(name))
  );
  const objects = unnamed.flatMap((member) => {
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

/** What is known about an object that no model's configuration describes. */
function undescribed(node: ObjectNode, path: readonly string[]): Found {
  const { location, entry, roles } = node;
  const common: Found = {
    ...NOTHING_FOUND,
    name: path[path.length - 1]!,
    path,
    location,
    roles,
    get variables() {
      return node.variables;
    },
  };
  if (entry) return { ...common, ...judgedByEntry(entry) };
  if (!roles) return common;
  const open = openAxes(roles.get("moving_mean")?.dims ?? []);
  return {
    ...common,
    verdict: open ? "possible" : "recognized",
    reason: open ? `${BY_NAMES}, but ${open}` : BY_NAMES,
    flags: flagsOf({ roles }),
  };
}

/** What an object's own configuration says, where the file holds it with the object. */
function judgedByEntry(
  entry: KerasConfig,
): Pick<Found, "className" | "config" | "entry" | "verdict" | "reason"> {
  const qualified = String(entry.class_name);
  const className = qualified.slice(qualified.lastIndexOf(">") + 1);
  const config = isObject(entry.config) ? entry.config : undefined;
  const certain = isBatchNormalization({ entry });
  const possible = !certain && config !== undefined &&
    resemblesBatchNormalization({ config });
  return {
    className,
    config,
    entry,
    verdict: certain ? "certain" : possible ? "possible" : "other",
    reason: possible ? reasonOfOtherClass(className) : undefined,
  };
}

function reasonOfOtherClass(className: string): string {
  return `the class ${className} is not Keras' own, but has a BatchNormalization's configuration`;
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
    if (child.isObject) yield undescribed(child, here);
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
    // Keras saves a layer once, where it comes first.
    if (node ? this.#used.has(node) : this.#loaded.has(same)) return;
    if (node) this.#used.add(node);
    this.#loaded.add(same);
    const certain = isBatchNormalization(layer);
    const resembles = !certain && resemblesBatchNormalization(layer);
    const possible = resembles || !certain && node?.roles !== undefined;
    yield {
      ...NOTHING_FOUND,
      name,
      path,
      className,
      config,
      entry,
      location: node?.location,
      roles: node?.roles,
      get variables() {
        return node?.variables ?? [];
      },
      verdict: certain ? "certain" : possible ? "possible" : "other",
      reason: resembles
        ? reasonOfOtherClass(className)
        : possible
        ? `the configuration says that it is a ${className}, but ${BY_NAMES}`
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

/** The objects below one that have layers with places, without those inside others. */
function* modelsBelow(node: ObjectNode): Generator<ObjectNode> {
  if (hasPlaces(node)) yield node;
  else for (const child of node.children.values()) yield* modelsBelow(child);
}

function hasPlaces({ children }: ObjectNode): boolean {
  const [first] = children.get("layers")?.children.values() ?? [];
  return first?.index !== undefined;
}

/**
 * The model among what was saved together, as in
 * `tf.train.Checkpoint(model=model, optimizer=optimizer)`.
 *
 * @throws {FormatError} If several fit.
 */
function modelIn(
  root: ObjectNode,
  layers: readonly ConfigLayer[],
): ObjectNode {
  const models = [...modelsBelow(root)];
  const fitting = models.filter((model) =>
    placesOf(model.children.get("layers")!, layers) !== undefined
  );
  if (fitting.length > 1) {
    throw new FormatError(
      `Cannot find the layers of the configuration in the file: it has as many as ${
        fitting.map(({ location }) => location).join(", ")
      } have; load the file without the option config, or each model's own one`,
    );
  }
  return fitting[0] ?? (models.length === 1 ? models[0]! : root);
}

/**
 * The layers of a tree of objects: in the model's order with a
 * configuration, and without one in the file's.
 *
 * @param root The model, or what it was saved with.
 * @param layers The configuration's layers, where there is one.
 *
 * @throws {FormatError} If the layers' places in the tree are not those of
 * the configuration.
 */
export function matchObjects(
  root: ObjectNode,
  layers: readonly ConfigLayer[] | undefined,
): Found[] {
  if (layers?.length) {
    const model = modelIn(root, layers);
    const found = [...new TreeMatcher(model).model(layers)];
    const isApart = (child: ObjectNode) =>
      child === model || NOT_LAYERS.includes(child.key);
    return model === root
      ? found
      : [...found, ...objectsBelow(root, [], isApart)];
  }
  return [
    ...objectsBelow(root, [], (child) => NOT_LAYERS.includes(child.key)),
  ];
}
