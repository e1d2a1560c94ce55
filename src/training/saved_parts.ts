/**
 * The layer and the optimizer of a saved state.
 *
 * @module
 */

import { UnsupportedError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import type { KerasConfig } from "../layer/config.ts";
import { resolveConstraint } from "../layer/constraints.ts";
import {
  isObject,
  type JsonObject,
  type JsonValue,
} from "../layer/keras_object.ts";
import { KERAS_VERSIONS, type KerasVersion } from "../layer/keras_version.ts";
import { resolveRegularizer } from "../layer/regularizers.ts";
import type { Tensor } from "../tensor.ts";
import { KerasOptimizer } from "./keras_optimizer.ts";
import type { Optimizer } from "./optimizer.ts";
import { resolveOptimizer } from "./optimizers.ts";
import { malformed } from "./tensor_bytes.ts";

/** A part of a state as it is saved: what goes into the header, and tensors. */
export interface SavedPart {
  readonly header: JsonObject;
  readonly tensors: readonly Tensor[];
}

/**
 * Checks that training goes on with the same functions after loading.
 *
 * @throws {UnsupportedError} If one of them is the user's own.
 */
function checkFunctions({ name, options }: BatchNormalization): void {
  if (options.adjustment) {
    throw new UnsupportedError(
      `Cannot save layer "${name}": its adjustment is a function`,
    );
  }
  const { kerasVersion } = options;
  const objects = [
    ["gammaRegularizer", resolveRegularizer],
    ["betaRegularizer", resolveRegularizer],
    ["activityRegularizer", resolveRegularizer],
    ["gammaConstraint", resolveConstraint],
    ["betaConstraint", resolveConstraint],
  ] as const;
  for (const [key, resolve] of objects) {
    try {
      const saved = options[key]?.toConfig(kerasVersion) ?? null;
      resolve(saved, { kerasVersion });
    } catch (error) {
      throw new UnsupportedError(
        `Cannot save layer "${name}": its ${key} is not one of Keras' own and could not be loaded again`,
        { cause: error },
      );
    }
  }
}

/** The configuration, with what Keras leaves out of it. */
function completeConfig(layer: BatchNormalization): KerasConfig {
  const { kerasVersion, fused, activityRegularizer } = layer.options;
  const { className } = layer;
  const config = layer.getConfig();
  const plain = BatchNormalization.fromConfig(
    { class_name: className, config },
    { kerasVersion, lenient: true },
  ).options;
  if (plain.fused !== fused) config.fused = fused;
  if (activityRegularizer && !plain.activityRegularizer) {
    config.activity_regularizer = activityRegularizer.toConfig(kerasVersion);
  }
  return { class_name: className, config };
}

/**
 * Saves a layer.
 *
 * @throws {UnsupportedError} If it has functions of the user's.
 */
export function saveLayer(layer: BatchNormalization): SavedPart {
  checkFunctions(layer);
  const tensors = layer.getWeights();
  return {
    header: {
      kerasVersion: layer.options.kerasVersion,
      config: completeConfig(layer) as JsonObject,
      weights: tensors.length,
    },
    tensors,
  };
}

/**
 * Saves an optimizer.
 *
 * @throws {UnsupportedError} If it is one of the user's.
 */
export function saveOptimizer(optimizer: Optimizer): SavedPart {
  const { className } = optimizer;
  if (!(optimizer instanceof KerasOptimizer)) {
    throw new UnsupportedError(
      `Cannot save the optimizer ${className}: it is not one of Keras' own and could not be loaded again`,
    );
  }
  const { iterations, slots } = optimizer.getState();
  return {
    header: {
      kerasVersion: optimizer.kerasVersion,
      className,
      config: optimizer.getConfig(),
      iterations,
      slots: slots.map(({ variable, slot }) => [variable, slot]),
    },
    tensors: slots.map(({ value }) => value),
  };
}

function readVersion(value: JsonValue | undefined): KerasVersion {
  const version = KERAS_VERSIONS.find((known) => known === value);
  if (!version) throw malformed("it has an unknown kerasVersion");
  return version;
}

/**
 * Makes a saved layer anew.
 *
 * @param header What was saved.
 * @param take Takes the next tensors of the state.
 */
export function loadLayer(
  header: JsonObject,
  take: (count: number) => Tensor[],
): BatchNormalization {
  const { kerasVersion, config, weights } = header;
  if (!isObject(config) || typeof weights !== "number") {
    throw malformed("its layer has no configuration or no count of weights");
  }
  const layer = BatchNormalization.fromConfig(config, {
    kerasVersion: readVersion(kerasVersion),
    // Initializers of the user's are no hindrance where there are weights.
    lenient: true,
  });
  const values = take(weights);
  if (weights > 0) layer.setWeights(values);
  return layer;
}

/**
 * Makes a saved optimizer anew.
 *
 * @param header What was saved.
 * @param take Takes the next tensors of the state.
 */
export function loadOptimizer(
  header: JsonObject,
  take: (count: number) => Tensor[],
): Optimizer {
  const { kerasVersion, className, config, iterations, slots } = header;
  const isPair = (pair: JsonValue): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 &&
    pair.every((name) => typeof name === "string");
  if (
    typeof className !== "string" || !isObject(config) ||
    typeof iterations !== "number" || !Array.isArray(slots) ||
    !slots.every(isPair)
  ) throw malformed("its optimizer is incomplete");
  const optimizer = resolveOptimizer(
    { class_name: className, config: config as JsonObject },
    { kerasVersion: readVersion(kerasVersion) },
  );
  const values = take(slots.length);
  optimizer.setState({
    iterations,
    slots: (slots as [string, string][]).map(([variable, slot], i) => ({
      variable,
      slot,
      value: values[i]!,
    })),
  });
  return optimizer;
}
