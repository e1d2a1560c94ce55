/**
 * How a name, JSON, a function or an object becomes an initializer, a
 * regularizer or a constraint.
 *
 * @module
 */

import { OptionError, UnsupportedError } from "../errors.ts";
import {
  isObject,
  type JsonObject,
  type Serializable,
  serializeCustom,
  type SerializedObject,
  serializeFunction,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";

/** How an identifier is read. */
export interface ResolveOptions {
  /** The Keras whose rules apply where they differ; `"2.4"` by default. */
  readonly kerasVersion?: KerasVersion;
  /**
   * For files: keep an unknown class or function, or a known class with an
   * unknown argument, as it is, and fail only when it is used. Off by default.
   */
  readonly lenient?: boolean;
}

/** Any function; arguments are checked by whoever calls it. */
export type AnyFunction = (...args: never[]) => unknown;

/** A built-in class and the keys that its config can have. */
export interface BuiltIn<T> {
  /** The class; takes one object of options, with the keys in camelCase. */
  readonly type: new (options: never) => T;
  /** The keys of its config. */
  readonly keys: readonly string[];
}

/** What tells initializers, regularizers and constraints from each other. */
export interface ObjectFamily<Behaviour> {
  /** The singular, for messages. */
  readonly kind: string;
  /** The built-in classes by their Keras names. */
  readonly builtIns: ReadonlyMap<string, BuiltIn<Behaviour & Serializable>>;
  /** Every other spelling of these names. */
  readonly aliases: ReadonlyMap<string, string>;
  /** The methods of an object of the user's, bound; undefined without them. */
  adapt(candidate: object): Behaviour | undefined;
  /** The methods made from a function of the user's. */
  fromFunction(callback: AnyFunction): Behaviour;
  /** Methods that throw. */
  unusable(fail: () => never): Behaviour;
}

/** Keras' own rule: `HeNormal` is `he_normal` too. */
function toSnakeCase(name: string): string {
  return name.replace(/(.)([A-Z][a-z0-9]+)/g, "$1_$2")
    .replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase();
}

function toCamelCase(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** A name or JSON, reduced to what matters. */
interface Reading {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether the JSON says that the class is not Keras' own. */
  readonly custom: boolean;
}

const KERAS_PACKAGES = ["keras", "tf_keras", "keras_core", "tensorflow"];

function isCustom(object: Record<string, unknown>): boolean {
  const { module, class_name, registered_name } = object;
  // Keras' word for a class that it could not import again.
  if (module === null) return true;
  if (typeof module === "string") {
    return !KERAS_PACKAGES.includes(module.split(".")[0]!);
  }
  return typeof registered_name === "string" && registered_name !== class_name;
}

/** Other keys, such as `__passive_serialization__`, say nothing about the object. */
function readObject(
  object: Record<string, unknown>,
  kind: string,
  version: KerasVersion,
): Reading {
  const { class_name, config } = object;
  if (class_name === "function" && typeof config === "string") {
    return { name: config, config: {}, custom: false };
  }
  const absent = config === null || (config === undefined && version === "3");
  if (typeof class_name !== "string" || !(absent || isObject(config))) {
    throw new OptionError(
      `Improper config format for ${kind} ${
        show(object)
      }: expected an object with class_name (a string) and config (an object)`,
    );
  }
  return {
    name: class_name,
    config: absent ? {} : config as Record<string, unknown>,
    custom: isCustom(object),
  };
}

/** Makes a built-in object, or says in one sentence why it is not known. */
function makeBuiltIn<Behaviour>(
  family: ObjectFamily<Behaviour>,
  { name, config, custom }: Reading,
  version: KerasVersion,
): (Behaviour & Serializable) | string {
  const className = family.aliases.get(name) ?? name;
  const builtIn = custom ? undefined : family.builtIns.get(className);
  if (builtIn === undefined) {
    return `Unknown ${family.kind}: "${name}". Expected one of ${
      [...family.builtIns.keys()].join(", ")
    }, an object or a function`;
  }
  const options: Record<string, unknown> = { kerasVersion: version };
  for (const [key, value] of Object.entries(config)) {
    if (!builtIn.keys.includes(key)) {
      return `Unknown argument "${key}" of ${family.kind} ${className}: expected ${
        builtIn.keys.length > 0 ? builtIn.keys.join(", ") : "none"
      }`;
    }
    options[toCamelCase(key)] = value;
  }
  return new builtIn.type(options as never);
}

/** An object of the user's; what it lacks to be saved is filled in. */
function fromObject<Behaviour extends object>(
  candidate: Partial<Serializable> & {
    readonly getConfig?: () => JsonObject;
  },
  behaviour: Behaviour,
): Behaviour & Serializable {
  if (
    typeof candidate.toConfig === "function" &&
    typeof candidate.className === "string"
  ) {
    return candidate as Behaviour & Serializable;
  }
  // An object literal has no class of its own to be named after.
  const ownClass: unknown = candidate.constructor;
  const className = candidate.className ??
    (typeof ownClass === "function" && ownClass !== Object
      ? ownClass.name
      : "Custom");
  return {
    ...behaviour,
    className,
    toConfig: (version) =>
      serializeCustom(className, candidate.getConfig?.() ?? {}, version),
  };
}

function fromCallable<Behaviour extends object>(
  family: ObjectFamily<Behaviour>,
  callback: AnyFunction,
  kerasVersion: KerasVersion,
): Behaviour & Serializable {
  for (const { type } of family.builtIns.values()) {
    if (type as unknown === callback) {
      return new type({ kerasVersion } as never);
    }
  }
  const prototype: unknown = callback.prototype;
  if (isObject(prototype) && family.adapt(prototype) !== undefined) {
    // A class: Keras makes an object of it, without arguments.
    const made = new (callback as unknown as new () => object)();
    return fromObject(made, family.adapt(made)!);
  }
  const className = callback.name || "<lambda>";
  return {
    ...family.fromFunction(callback),
    className,
    toConfig: (version) => serializeFunction(className, version),
  };
}

/**
 * Makes an object of a family from whatever names or describes it, by the
 * rules of Keras' `get`.
 *
 * @param family What is expected.
 * @param identifier A name, Keras JSON of any version, a function, a class, or
 * an object with the methods of the family.
 * @param options Whose rules apply, and whether the unknown is kept.
 * @returns The object.
 *
 * @throws {OptionError} If the identifier is unknown or malformed, or an
 * argument in it is not allowed.
 */
export function resolveObject<Behaviour extends object>(
  family: ObjectFamily<Behaviour>,
  identifier: unknown,
  options: ResolveOptions = {},
): Behaviour & Serializable {
  const { kerasVersion = "2.4", lenient = false } = options;
  if (typeof identifier === "function") {
    return fromCallable(family, identifier as AnyFunction, kerasVersion);
  }
  if (typeof identifier !== "string" && !isObject(identifier)) {
    throw new OptionError(
      `Could not interpret ${family.kind} identifier: expected a name, Keras JSON, an object or a function, got ${
        show(identifier)
      }`,
    );
  }
  if (typeof identifier !== "string") {
    const behaviour = family.adapt(identifier);
    if (behaviour !== undefined) return fromObject(identifier, behaviour);
  }
  const reading = typeof identifier === "string"
    ? { name: identifier, config: {}, custom: false }
    : readObject(identifier, family.kind, kerasVersion);
  const made = makeBuiltIn(family, reading, kerasVersion);
  if (typeof made !== "string") return made;
  if (!lenient) throw new OptionError(made);
  return {
    ...family.unusable(() => {
      throw new UnsupportedError(
        `Cannot use the ${family.kind} "${reading.name}" of a loaded file: ${made}. Set one of your own in its place`,
      );
    }),
    className: reading.name,
    // A copy, so that later changes to the caller's JSON do not show.
    toConfig: constant(structuredClone(identifier) as SerializedObject),
  };
}

function constant<T>(value: T): () => T {
  return () => value;
}

/** Every spelling of the names of built-in classes: snake_case and the extra ones. */
export function spellings(
  classNames: Iterable<string>,
  extra: Readonly<Record<string, string>>,
): Map<string, string> {
  const aliases = new Map<string, string>();
  for (const name of classNames) aliases.set(toSnakeCase(name), name);
  for (const [alias, name] of Object.entries(extra)) aliases.set(alias, name);
  return aliases;
}
