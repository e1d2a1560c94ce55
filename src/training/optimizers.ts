/**
 * Keras' optimizers, by name, by Keras JSON and by object.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import { isObject, type KerasObject, show } from "../layer/keras_object.ts";
import type { KerasVersion } from "../layer/keras_version.ts";
import { Adam, AdamW } from "./adam.ts";
import type { Optimizer, OptimizerOptions } from "./optimizer.ts";
import { RMSprop } from "./rmsprop.ts";
import { SGD } from "./sgd.ts";

export { Adam, AdamW, RMSprop, SGD };

/**
 * What names or describes an optimizer: a name such as `"adam"`, Keras JSON
 * of any version, an optimizer, or its class.
 */
export type OptimizerIdentifier =
  | string
  | KerasObject
  | Optimizer
  | (new () => Optimizer);

/** How {@linkcode resolveOptimizer} reads. */
export interface ResolveOptimizerOptions {
  /**
   * Which Keras to follow. By default, what the spelling of the JSON tells,
   * and `"2.4"` for a name.
   */
  readonly kerasVersion?: KerasVersion;
}

type OptimizerClass = new (options: OptimizerOptions) => Optimizer;

/** A class and the keys of its configuration that are its own. */
interface Entry {
  readonly type: OptimizerClass;
  readonly keys: Readonly<Record<string, string>>;
}

const ADAM_KEYS = {
  beta_1: "beta1",
  beta_2: "beta2",
  epsilon: "epsilon",
  amsgrad: "amsgrad",
};

/** The classes by lower-case name: Keras does not tell the cases apart. */
const CLASSES: ReadonlyMap<string, Entry> = new Map<string, Entry>([
  ["sgd", { type: SGD, keys: { momentum: "momentum", nesterov: "nesterov" } }],
  ["adam", { type: Adam, keys: ADAM_KEYS }],
  ["adamw", { type: AdamW, keys: ADAM_KEYS }],
  ["rmsprop", {
    type: RMSprop,
    keys: {
      rho: "rho",
      momentum: "momentum",
      epsilon: "epsilon",
      centered: "centered",
    },
  }],
]);

/** Keys that every optimizer has, and their options. */
const SHARED_KEYS: Readonly<Record<string, string>> = {
  name: "name",
  learning_rate: "learningRate",
  lr: "learningRate",
  decay: "decay",
  weight_decay: "weightDecay",
  clipnorm: "clipnorm",
  clipvalue: "clipvalue",
  global_clipnorm: "globalClipnorm",
};

/** Keys that change no number here, or none unless another key is set. */
const IGNORED_KEYS: readonly string[] = [
  "ema_momentum",
  "ema_overwrite_frequency",
  "jit_compile",
  "is_legacy_optimizer",
];

/** Keys of what this module does not do, unless they say that it is off. */
const OFF_KEYS: readonly string[] = [
  "use_ema",
  "loss_scale_factor",
  "gradient_accumulation_steps",
];

type Config = Readonly<Record<string, unknown>>;

/**
 * Which optimizers wrote a configuration: tf-keras says whether it is one of
 * those up to 2.10, and only Keras 3 does not write `jit_compile`.
 */
function versionOf(config: Config): KerasVersion {
  if ("jit_compile" in config) return "2.12";
  return "use_ema" in config ? "3" : "2.4";
}

function optionsOf(
  owner: string,
  own: Readonly<Record<string, string>>,
  config: Config,
): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(config)) {
    if (IGNORED_KEYS.includes(key)) continue;
    if (OFF_KEYS.includes(key)) {
      if (value === false || value === null) continue;
      throw new UnsupportedError(
        `Cannot make ${owner} with ${key} ${show(value)}: not supported here`,
      );
    }
    const option = Object.hasOwn(own, key)
      ? own[key]
      : Object.hasOwn(SHARED_KEYS, key)
      ? SHARED_KEYS[key]
      : undefined;
    if (option === undefined) {
      throw new OptionError(
        `Unknown argument "${key}" of optimizer ${owner}: expected ${
          [...Object.keys(SHARED_KEYS), ...Object.keys(own)].join(", ")
        }`,
      );
    }
    if (option === "learningRate" && isObject(value)) {
      throw new UnsupportedError(
        `Cannot make ${owner} with a learning rate schedule: pass a number, and change learningRate between steps`,
      );
    }
    options[option] = value;
  }
  return options;
}

function isOptimizer(value: object): value is Optimizer {
  const { apply, getState } = value as Partial<Optimizer>;
  return typeof apply === "function" && typeof getState === "function";
}

/**
 * The optimizer that a name, Keras JSON, a class or an object stands for.
 *
 * JSON is `{ class_name, config }` of any version; `lr` is `learning_rate`,
 * and names are read in any case, as Keras does. A configuration that says
 * `is_legacy_optimizer: true` follows `"2.4"`, whatever release wrote it.
 *
 * @param identifier The name or whatever else; an optimizer is given back as
 * it is.
 * @param options Whose rules apply.
 * @returns The optimizer, without steps.
 *
 * @throws {OptionError} If the identifier is unknown or malformed, or an
 * argument in it is not allowed.
 * @throws {UnsupportedError} If it has a learning rate schedule, averages
 * weights, accumulates gradients or scales the loss.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveOptimizer } from "@evenkeel/evenkeel";
 *
 * const sgd = resolveOptimizer({ class_name: "SGD", config: { lr: 0.5, momentum: 0.75 } });
 * assertEquals(sgd.learningRate, 0.5);
 * assertEquals(sgd.getConfig().momentum, 0.75);
 * assertEquals(resolveOptimizer("adam").learningRate, Math.fround(0.001));
 * ```
 */
export function resolveOptimizer(
  identifier: OptimizerIdentifier,
  options: ResolveOptimizerOptions = {},
): Optimizer {
  if (typeof identifier === "function") {
    for (const { type } of CLASSES.values()) {
      if (type as unknown === identifier) return new type(options);
    }
    return new identifier();
  }
  if (isObject(identifier) && isOptimizer(identifier)) return identifier;
  const { class_name: name, config = {} }: Config =
    typeof identifier === "string"
      ? { class_name: identifier }
      : isObject(identifier)
      ? identifier
      : {};
  if (typeof name !== "string" || !isObject(config)) {
    throw new OptionError(
      `Could not interpret optimizer identifier: expected a name, Keras JSON with class_name and config, or an optimizer, got ${
        show(identifier)
      }`,
    );
  }
  // A prefix "package>" is Keras' own for the classes of its experiments.
  const entry = CLASSES.get(
    name.replace(/^Custom>/, "").replace(/^Experimental/i, "").toLowerCase(),
  );
  if (!entry) {
    throw new OptionError(
      `Unknown optimizer: "${name}". Expected one of SGD, Adam, AdamW, RMSprop, or an optimizer`,
    );
  }
  const kerasVersion = config.is_legacy_optimizer === true
    ? "2.4"
    : options.kerasVersion ?? versionOf(config);
  return new entry.type({
    ...optionsOf(entry.type.name, entry.keys, config),
    kerasVersion,
  });
}
