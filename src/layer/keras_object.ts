/**
 * The JSON in which Keras saves initializers, regularizers and constraints.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { KerasVersion } from "./keras_version.ts";

/** A value that JSON can hold. */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | JsonObject;

/** A JSON object. */
export interface JsonObject {
  /** The value of a key. */
  readonly [key: string]: JsonValue;
}

/**
 * A saved object: `class_name` and `config`; Keras 3, and the Keras 2 releases
 * that write `.keras` files, add `module` and `registered_name`.
 *
 * `config` is a string for a function only: its name.
 */
export interface KerasObject extends JsonObject {
  /** The name of the class, with a prefix `package>` for some custom ones. */
  readonly class_name: string;
  /** The arguments of the constructor. */
  readonly config: JsonObject | string;
}

/** All that a config can hold in the place of an object; null is "none". */
export type SerializedObject = KerasObject | string | null;

/** What an object needs to be saved. */
export interface Serializable {
  /** The name of the Keras class, such as `HeNormal`. */
  readonly className: string;
  /** The JSON that this version of Keras writes. */
  toConfig(version: KerasVersion): SerializedObject;
}

/** Whether a value is an object and not an array. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const MESSAGE_LIMIT = 120;

/** A value as it is shown in a message, cut where it is long. */
export function show(value: unknown): string {
  if (typeof value === "function") return `function ${value.name}`;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MESSAGE_LIMIT
    ? `${text.slice(0, MESSAGE_LIMIT)}...`
    : text;
}

/**
 * An argument that must be a number, or its default where it is undefined.
 *
 * @throws {OptionError} If it is something else.
 */
export function numberArgument(
  owner: string,
  name: string,
  value: unknown,
  fallback: number,
): number {
  if (value === undefined) return fallback;
  if (typeof value === "number") return value;
  throw new OptionError(
    `Cannot make ${owner}: expected ${name} to be a number, got ${show(value)}`,
  );
}

/**
 * Writes a built-in object in the form of a Keras version.
 *
 * @param family The module of the class, such as `keras.initializers`.
 * @param className The name of the class.
 * @param config Its arguments.
 * @param version `"3"` for the form with `module`, otherwise that of Keras 2.
 * @returns The JSON that Keras writes.
 */
export function serializeBuiltIn(
  family: string,
  className: string,
  config: JsonObject,
  version: KerasVersion,
): KerasObject {
  return version === "3"
    ? { module: family, class_name: className, config, registered_name: null }
    : { class_name: className, config };
}

/** Writes a function of the user's: its name, in the form of a Keras version. */
export function serializeFunction(
  name: string,
  version: KerasVersion,
): SerializedObject {
  return version === "3"
    ? {
      module: "builtins",
      class_name: "function",
      config: name,
      registered_name: "function",
    }
    : name;
}

/** Writes an object of the user's in the form of a Keras version. */
export function serializeCustom(
  className: string,
  config: JsonObject,
  version: KerasVersion,
): KerasObject {
  return version === "3"
    ? {
      module: null,
      class_name: className,
      config,
      registered_name: className,
    }
    : { class_name: className, config };
}
