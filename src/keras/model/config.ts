/**
 * The layers that a model's configuration describes, in every release's
 * spelling.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { CLASS_NAMES, type KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import { parseJsonObject } from "../files/json.ts";

/** One layer in a model's configuration. */
export interface ConfigLayer {
  readonly name: string;
  /** The names from the model's layer down to this one. */
  readonly path: readonly string[];
  /** The class, without the package that custom ones can have in front. */
  readonly className: string;
  /** What `get_config` gave; for Keras 1's Sequential, the list in an object. */
  readonly config: KerasConfig;
  /** The whole serialized layer: `{ class_name, config, ... }`. */
  readonly entry: KerasConfig;
  /** The attribute of the containing layer that holds it. */
  readonly attribute: string;
  /** Whether that attribute is a list. */
  readonly inList: boolean;
  readonly children: readonly ConfigLayer[];
}

/** No model is nested deeper. */
const MAX_DEPTH = 64;

/** The keys that BatchNormalization's configurations of all releases have, and no other layer's. */
const TELLING_KEYS = ["moving_variance_initializer", "mode"];

/** Modules of Keras' own classes; Keras 2 has no modules in its JSON. */
const KERAS_MODULES = ["keras", "tf_keras", "keras_core", "tensorflow"];

/** Whether a serialized layer is Keras' own BatchNormalization. */
export function isBatchNormalization(
  { entry }: Pick<ConfigLayer, "entry">,
): boolean {
  const { class_name, module } = entry;
  return CLASS_NAMES.includes(class_name as string) &&
    (typeof module !== "string" ||
      KERAS_MODULES.includes(module.split(".")[0]!));
}

/** Whether a layer of another class has a BatchNormalization's configuration. */
export function resemblesBatchNormalization(
  { config }: Pick<ConfigLayer, "config">,
): boolean {
  return "epsilon" in config && "momentum" in config &&
    TELLING_KEYS.some((key) => key in config);
}

function isSerialized(value: unknown): value is KerasConfig {
  return isObject(value) && typeof value.class_name === "string" &&
    (isObject(value.config) || Array.isArray(value.config));
}

/** Whether a value in a configuration is a layer, and not an initializer, policy and so on. */
function isLayer(value: unknown): value is KerasConfig {
  if (!isSerialized(value)) return false;
  const { config } = value;
  return Array.isArray(config) ||
    isObject(config) && typeof config.name === "string" &&
      ("trainable" in config || "layers" in config);
}

interface Position {
  readonly path: readonly string[];
  readonly attribute: string;
  readonly inList: boolean;
  readonly seen: Set<unknown>;
}

function readLayer(entry: KerasConfig, at: Position): ConfigLayer | undefined {
  const { shared_object_id } = entry;
  if (shared_object_id !== undefined) {
    // The same layer, in a second place.
    if (at.seen.has(shared_object_id)) return undefined;
    at.seen.add(shared_object_id);
  }
  const qualified = entry.class_name as string;
  const className = qualified.slice(qualified.lastIndexOf(">") + 1);
  const config = Array.isArray(entry.config)
    ? { layers: entry.config }
    : entry.config as KerasConfig;
  const name = entry.name ?? config.name ?? className;
  const path = [...at.path, String(name)];
  if (path.length > MAX_DEPTH) {
    throw new FormatError(
      `Cannot read the model's configuration: it is nested more than ${MAX_DEPTH} deep`,
    );
  }
  return {
    name: String(name),
    path,
    className,
    config,
    entry,
    attribute: at.attribute,
    inList: at.inList,
    children: readChildren(config, path, at.seen),
  };
}

function readChildren(
  config: KerasConfig,
  path: readonly string[],
  seen: Set<unknown>,
): ConfigLayer[] {
  const children: (ConfigLayer | undefined)[] = [];
  for (const [attribute, value] of Object.entries(config)) {
    if (Array.isArray(value)) {
      const isMember = attribute === "layers" ? isSerialized : isLayer;
      for (const entry of value.filter(isMember)) {
        children.push(
          readLayer(entry, { path, attribute, inList: true, seen }),
        );
      }
    } else if (isLayer(value)) {
      children.push(readLayer(value, { path, attribute, inList: false, seen }));
    }
  }
  return children.filter((child) => child !== undefined);
}

/**
 * The layers of a model, each with the layers inside it.
 *
 * A layer that is used in several places, and says so, is listed once.
 *
 * @param model `{ class_name, config }`, or only what `get_config` gave.
 *
 * @throws {FormatError} If it is neither.
 */
export function configLayers(model: KerasConfig): ConfigLayer[] {
  const { class_name, config = model } = model;
  if (class_name === undefined && !Array.isArray(model.layers)) {
    throw new FormatError(
      `Cannot read the model's configuration: expected an object with class_name and config, got the keys ${
        Object.keys(model).slice(0, 8).join(", ") || "(none)"
      }`,
    );
  }
  // Up to Keras 2.1, Sequential's configuration is the list itself.
  const layers = Array.isArray(config) ? { layers: config } : config;
  return isObject(layers) ? readChildren(layers, [], new Set()) : [];
}

/** The configuration that a caller gave, as an object or JSON. */
export function givenConfig(config: string | KerasConfig): KerasConfig {
  return typeof config === "string"
    ? parseJsonObject(config, "the option config")
    : config;
}
