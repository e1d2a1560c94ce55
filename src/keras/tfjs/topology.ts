/**
 * The `modelTopology` of a TensorFlow.js layers model as the configuration
 * that Keras would write.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";

/** What a topology tells. */
export interface Topology {
  /** The model, `{ class_name, config }`. */
  readonly config: KerasConfig | undefined;
  /** The release that wrote it: Keras', or such as `tfjs-layers 4.22.0`. */
  readonly kerasVersion: string | undefined;
  /** The release that its layers follow, where that is not Keras'. */
  readonly follows: KerasVersion | undefined;
}

/** Who wrote a topology of TensorFlow.js' own. */
const OWN = /^tfjs-layers\b/;

/**
 * TensorFlow.js' layers divide by the count and have no least epsilon, as those
 * of Keras 3.
 */
const OWN_FOLLOWS: KerasVersion = "3";

/** Python's spelling of a key: `class_name` for `className`. */
function snakeCase(key: string): string {
  return key.replace(/(.)([A-Z][a-z0-9]+)/g, "$1_$2")
    .replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
}

/** A value with Python's spelling of all keys; `parseJsonObject` bounds the depth. */
function pythonic(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pythonic);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      snakeCase(key),
      pythonic(inner),
    ]),
  );
}

/** Whether a topology has TypeScript's spelling, as `model.toJSON(null, false)` gives it. */
function isCamelCase(topology: Record<string, unknown>): boolean {
  return "className" in topology || "modelConfig" in topology ||
    isObject(topology.model_config) && "className" in topology.model_config;
}

/**
 * Reads a topology, of the converter (with `model_config`) or of TensorFlow.js
 * itself.
 */
export function readTopology(topology: unknown): Topology {
  if (!isObject(topology)) {
    return { config: undefined, kerasVersion: undefined, follows: undefined };
  }
  const spelled = isCamelCase(topology)
    ? pythonic(topology) as Record<string, unknown>
    : topology;
  const { model_config: inner, keras_version: version } = spelled;
  const model = isObject(inner) ? inner : spelled;
  const kerasVersion = typeof version === "string" ? version : undefined;
  return {
    config: "class_name" in model || Array.isArray(model.layers)
      ? model
      : undefined,
    kerasVersion,
    follows: kerasVersion !== undefined && OWN.test(kerasVersion)
      ? OWN_FOLLOWS
      : undefined,
  };
}
