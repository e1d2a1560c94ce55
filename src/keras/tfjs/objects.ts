/**
 * Initializers, regularizers and constraints as TensorFlow.js has them.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import {
  isObject,
  type JsonValue,
  type KerasObject,
  type Serializable,
} from "../../layer/keras_object.ts";

/** Its initializers (tfjs-layers 4.22). */
const INITIALIZERS = [
  "Zeros",
  "Ones",
  "Constant",
  "RandomUniform",
  "RandomNormal",
  "TruncatedNormal",
  "VarianceScaling",
  "GlorotUniform",
  "GlorotNormal",
  "HeNormal",
  "HeUniform",
];
/** Its constraints. */
const CONSTRAINTS = ["MaxNorm", "UnitNorm", "NonNeg", "MinMaxNorm"];

/** Where a layer with variables could have any initializer. */
const DEFAULTS: Readonly<Record<string, KerasObject>> = {
  beta_initializer: { class_name: "Zeros", config: {} },
  gamma_initializer: { class_name: "Ones", config: {} },
  moving_mean_initializer: { class_name: "Zeros", config: {} },
  moving_variance_initializer: { class_name: "Ones", config: {} },
};

/** The one regularizer that it has, for the three of Keras. */
function asL1L2(className: string, value: JsonValue): JsonValue | undefined {
  if (!["L1", "L2", "L1L2"].includes(className) || !isObject(value)) {
    return undefined;
  }
  const { config } = value;
  const { l1 = 0, l2 = 0 } = isObject(config) ? config : {};
  return {
    class_name: "L1L2",
    config: { l1: Number(l1), l2: Number(l2) },
  };
}

/**
 * The JSON of an object.
 *
 * An initializer that TensorFlow.js does not have becomes Keras' default: it
 * would fill variables that the file has.
 *
 * @param value The object.
 * @param key Which one of the configuration it is.
 * @param layer The layer's key, for messages.
 *
 * @throws {UnsupportedError} If it does not have such a regularizer or
 * constraint.
 */
export function tfjsObject(
  value: Serializable | null,
  key: string,
  layer: string,
): JsonValue {
  if (value === null) return null;
  const { className } = value;
  const json = value.toConfig("2.4");
  const fallback = DEFAULTS[key];
  if (fallback) return INITIALIZERS.includes(className) ? json : fallback;
  if (CONSTRAINTS.includes(className)) return json;
  const regularizer = asL1L2(className, json);
  if (regularizer !== undefined) return regularizer;
  throw new UnsupportedError(
    `Cannot write layer "${layer}" for TensorFlow.js: it has no ${className}, which is the layer's ${key}`,
  );
}
