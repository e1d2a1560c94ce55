/**
 * A layer's configuration: Keras' JSON, read in every release's spelling and
 * written in that of the layer's own.
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../errors.ts";
import { resolveConstraint } from "./constraints.ts";
import { resolveInitializer } from "./initializers.ts";
import { isObject, type Serializable } from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import type {
  BatchNormalizationOptions,
  RenormClipping,
  ResolvedOptions,
} from "./options.ts";
import { resolveRegularizer } from "./regularizers.ts";

/** A layer's configuration as Keras' `get_config` gives it: snake_case JSON. */
export type KerasConfig = Record<string, unknown>;

/** The class names under which Keras files have BatchNormalization layers. */
export const CLASS_NAMES: readonly string[] = [
  "BatchNormalization",
  "BatchNormalizationV1",
  "BatchNormalizationV2",
  "SyncBatchNormalization",
];

/** Configuration keys that are options under another name. */
const OPTION_OF_KEY: Readonly<
  Record<string, keyof BatchNormalizationOptions>
> = {
  name: "name",
  trainable: "trainable",
  dtype: "dtype",
  dynamic: "dynamic",
  batch_input_shape: "batchInputShape",
  axis: "axis",
  momentum: "momentum",
  epsilon: "epsilon",
  center: "center",
  scale: "scale",
  beta_initializer: "betaInitializer",
  gamma_initializer: "gammaInitializer",
  moving_mean_initializer: "movingMeanInitializer",
  moving_variance_initializer: "movingVarianceInitializer",
  beta_regularizer: "betaRegularizer",
  gamma_regularizer: "gammaRegularizer",
  beta_constraint: "betaConstraint",
  gamma_constraint: "gammaConstraint",
  renorm: "renorm",
  renorm_clipping: "renormClipping",
  renorm_momentum: "renormMomentum",
  fused: "fused",
  virtual_batch_size: "virtualBatchSize",
  synchronized: "synchronized",
  activity_regularizer: "activityRegularizer",
};

/** How a configuration is read. */
export interface ParseOptions {
  /** The release that wrote it; by default, what its spelling tells. */
  readonly kerasVersion?: KerasVersion | undefined;
  /** Keep unknown initializers and so on, which fail when they are used. */
  readonly lenient?: boolean | undefined;
}

/** A configuration taken apart. */
export interface ParsedConfig {
  /** The constructor's options. */
  readonly options: BatchNormalizationOptions;
  /** The configuration itself, without the wrapper around it. */
  readonly source: KerasConfig;
  /** Whether the class is that of TF 1, which a freeze does not stop. */
  readonly isVersion1: boolean;
}

/**
 * Undoes the shift that Keras leaves in a ghost-batch layer's configuration.
 *
 * Building such a layer adds 1 to every axis for the dimension that it
 * inserts (tensorflow#56556), so that Keras cannot build its own file again.
 * A built layer has a list of non-negative axes, none of them below 2 after
 * the shift; {@linkcode configOf} writes negative ones, which are never
 * shifted.
 */
function unshiftAxis(axis: unknown, virtualBatchSize: unknown): unknown {
  const shifted = virtualBatchSize != null && Array.isArray(axis) &&
    axis.every((a) => typeof a === "number" && a >= 2);
  return shifted ? axis.map((a: number) => a - 1) : axis;
}

/** Keras 3 writes `synchronized`, and policies of module "keras". */
function versionOf(source: KerasConfig): KerasVersion {
  const { dtype } = source;
  const isKeras3 = "synchronized" in source ||
    (isObject(dtype) && dtype.module === "keras");
  return isKeras3 ? "3" : "2.4";
}

/** Resolves the nested objects here, so that unknown ones can be kept. */
function resolveLeniently(
  options: Record<string, unknown>,
  kerasVersion: KerasVersion,
): void {
  const how = { kerasVersion, lenient: true };
  for (const [option, value] of Object.entries(options)) {
    const identifier = value as never;
    if (option.endsWith("Initializer")) {
      options[option] = resolveInitializer(identifier, how);
    } else if (option.endsWith("Regularizer")) {
      options[option] = resolveRegularizer(identifier, how);
    } else if (option.endsWith("Constraint")) {
      options[option] = resolveConstraint(identifier, how);
    }
  }
}

/** No configuration of Keras' is nested deeper. */
const MAX_DEPTH = 100;

/** Refuses what would overflow the stack of whatever walks it. */
function checkDepth(value: unknown, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > MAX_DEPTH) {
    throw new FormatError(
      `Cannot read a configuration that is nested more than ${MAX_DEPTH} deep`,
    );
  }
  for (const inner of Object.values(value)) checkDepth(inner, depth + 1);
}

/**
 * Takes a configuration apart.
 *
 * @param config `get_config`'s JSON, or a whole serialized layer
 * (`{ class_name, config }`, with or without Keras 3's `module`).
 * @param parseOptions How to read it.
 *
 * @throws {FormatError} If it is no configuration of a BatchNormalization.
 * @throws {UnsupportedError} If it asks for Keras 1's sample-wise mode.
 */
export function parseConfig(
  config: unknown,
  parseOptions: ParseOptions = {},
): ParsedConfig {
  if (!isObject(config)) {
    throw new FormatError(
      `Cannot read the configuration of a BatchNormalization layer: expected an object, got ${
        JSON.stringify(config) ?? typeof config
      }`,
    );
  }
  checkDepth(config, 0);
  let source = config;
  let synchronized = false;
  if (typeof config.class_name === "string" && isObject(config.config)) {
    if (!CLASS_NAMES.includes(config.class_name)) {
      throw new FormatError(
        `Cannot read a BatchNormalization layer from a configuration of class "${config.class_name}": expected ${
          CLASS_NAMES.map((name) => `"${name}"`).join(", ")
        }`,
      );
    }
    source = config.config;
    synchronized = config.class_name === "SyncBatchNormalization";
  }
  // Keras 1: 0 is per feature, 2 the same without the moving statistics in
  // training; 1 has no statistics at all.
  if (source.mode === 1) {
    throw new UnsupportedError(
      `Cannot load layer "${source.name}": mode 1 of Keras 1 normalizes each sample on its own, which is no batch normalization`,
    );
  }
  const version = parseOptions.kerasVersion ?? versionOf(source);
  const options: Record<string, unknown> = { kerasVersion: version };
  for (const [key, option] of Object.entries(OPTION_OF_KEY)) {
    if (source[key] !== undefined) options[option] = source[key];
  }
  // Only renorm brings its two companions into play.
  if (!options.renorm) delete options.renormClipping;
  if (options.axis !== undefined) {
    options.axis = unshiftAxis(options.axis, options.virtualBatchSize);
  }
  if (version === "3") {
    // Keras 3 reads a Keras 2 list of one axis as that axis.
    if (Array.isArray(options.axis) && options.axis.length === 1) {
      options.axis = options.axis[0];
    }
    // In a Keras 2 configuration; no arguments there.
    delete options.batchInputShape;
    delete options.dynamic;
  }
  if (synchronized) options.synchronized = true;
  if (parseOptions.lenient) resolveLeniently(options, version);
  return {
    options: options as BatchNormalizationOptions,
    source,
    isVersion1: config.class_name === "BatchNormalizationV1",
  };
}

function clippingConfig(clipping: RenormClipping): KerasConfig {
  return { ...clipping };
}

function dtypeConfig(options: ResolvedOptions): unknown {
  const { name, compute } = options.dtype;
  if (options.kerasVersion === "3") {
    return {
      module: "keras",
      class_name: "DTypePolicy",
      config: { name },
      registered_name: null,
    };
  }
  return name === compute ? name : { class_name: "Policy", config: { name } };
}

/**
 * The configuration of a layer that was not made from one.
 *
 * @param options The layer's options.
 * @param name The layer's name.
 */
function canonicalConfig(
  options: ResolvedOptions,
  name: string,
): KerasConfig {
  const { kerasVersion } = options;
  const object = (value: Serializable | null) =>
    value === null ? null : value.toConfig(kerasVersion);
  const config: KerasConfig = { name, trainable: options.trainable };
  if (options.batchInputShape && kerasVersion !== "3") {
    config.batch_input_shape = [...options.batchInputShape];
  }
  config.dtype = dtypeConfig(options);
  // From 2.11 on it is not written.
  if (options.dynamic && (kerasVersion === "2.4" || kerasVersion === "2.6")) {
    config.dynamic = true;
  }
  if (options.activityRegularizer && kerasVersion === "3") {
    config.activity_regularizer = object(options.activityRegularizer);
  }
  Object.assign(config, {
    axis: options.axis,
    momentum: options.momentum,
    epsilon: options.epsilon,
    center: options.center,
    scale: options.scale,
    beta_initializer: object(options.betaInitializer),
    gamma_initializer: object(options.gammaInitializer),
    moving_mean_initializer: object(options.movingMeanInitializer),
    moving_variance_initializer: object(options.movingVarianceInitializer),
    beta_regularizer: object(options.betaRegularizer),
    gamma_regularizer: object(options.gammaRegularizer),
    beta_constraint: object(options.betaConstraint),
    gamma_constraint: object(options.gammaConstraint),
  });
  if (kerasVersion === "3") {
    config.synchronized = options.synchronized;
    config.renorm = options.renorm;
    config.renorm_clipping = options.renorm
      ? clippingConfig(options.renormClipping)
      : null;
    config.renorm_momentum = options.renormMomentum;
    return config;
  }
  if (options.renorm) {
    config.renorm = true;
    config.renorm_clipping = clippingConfig(options.renormClipping);
    config.renorm_momentum = options.renormMomentum;
  }
  if (options.virtualBatchSize !== null) {
    config.virtual_batch_size = options.virtualBatchSize;
  }
  return config;
}

/** What of a layer its configuration depends on. */
export interface ConfigState {
  /** The checked options. */
  readonly options: ResolvedOptions;
  /** The layer's name. */
  readonly name: string;
  /** Whether the layer learns, now. */
  readonly trainable: boolean;
  /** The resolved axes and the rank, once the layer is built. */
  readonly built: { axes: readonly number[]; rank: number } | undefined;
  /** The configuration that the layer was made from. */
  readonly source: KerasConfig | undefined;
}

/**
 * `axis` as Keras writes it: the resolved list for a built layer of Keras 2,
 * otherwise as given.
 *
 * A layer with ghost batches gets what `unshiftAxis` cannot take for shifted:
 * axes counted from the end or, while the rank is unknown, a single number.
 * Keras can build that, other than its own.
 */
function axisConfig({ options, built, source }: ConfigState): unknown {
  const { axis } = options;
  if (options.virtualBatchSize === null) {
    if (built && options.kerasVersion !== "3") {
      // In the order in which they were given, unlike `built.axes`.
      const given = typeof axis === "number" ? [axis] : axis;
      return given.map((a) => (a < 0 ? a + built.rank : a));
    }
    return source ? source.axis : axis;
  }
  if (built) return built.axes.map((a) => a - built.rank);
  if (typeof axis === "number") return axis;
  return axis.length === 1 ? axis[0] : source?.axis ?? axis;
}

/**
 * A layer's configuration in Keras' JSON.
 *
 * One that the layer was made from comes back as it was, unknown keys
 * included, with the current `trainable` and, as Keras 2 does for built
 * layers, the resolved list of axes.
 */
export function configOf(state: ConfigState): KerasConfig {
  const config = state.source
    ? structuredClone(state.source)
    : canonicalConfig(state.options, state.name);
  config.trainable = state.trainable;
  const axis = axisConfig(state);
  // A list of its own, since callers may change what they get.
  if (axis !== undefined) config.axis = structuredClone(axis);
  return config;
}
