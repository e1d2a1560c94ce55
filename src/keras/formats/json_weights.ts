/**
 * Weights as nested lists of numbers in JSON: what `get_weights()` gave, of
 * one layer or of several by name, or variables by name.
 *
 * Numbers are read as Python and JavaScript write them. `NaN`, `Infinity` and
 * `-Infinity` are what Python's json writes; null is refused, which
 * JavaScript writes for all three.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import { canonicalName } from "../contents/flat_names.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import { type JsonObject, NAN_TEXT } from "../files/json.ts";
import { stemOf } from "../files/source_file.ts";

/** A name whose last part is that of a BatchNormalization's variable, so that names are variables'. */
const VARIABLE =
  /(^|\/)(gamma|beta|moving_mean|moving_variance|running_mean|running_var|running_std)(:\d+)?$/;

/** The extents of a list in a list, as their first members tell. */
function extentsOf(value: unknown): number[] {
  const dims: number[] = [];
  let item = value;
  while (Array.isArray(item)) {
    dims.push(item.length);
    item = item[0];
  }
  return dims;
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return value === null
    ? "null, which JavaScript writes for NaN and infinities"
    : isObject(value)
    ? "an object"
    : JSON.stringify(value).slice(0, 40);
}

/** The numbers of a list of lists, which must be rectangular. */
function* numbersOf(
  value: unknown,
  dims: readonly number[],
  what: string,
  depth = 0,
): Generator<number> {
  const extent = dims[depth];
  if (extent === undefined) {
    if (typeof value === "number") yield value;
    else if (value === NAN_TEXT) yield NaN;
    else {
      throw new FormatError(
        `Cannot read ${what}: expected a number, got ${describe(value)}`,
      );
    }
    return;
  }
  if (!Array.isArray(value) || value.length !== extent) {
    throw new FormatError(
      `Cannot read ${what}: expected a list of ${extent} as the first is, got ${
        describe(value)
      }`,
    );
  }
  for (const item of value) yield* numbersOf(item, dims, what, depth + 1);
}

/**
 * A variable of lists of numbers. Its type is Keras' usual one; the numbers
 * are not rounded before it is known which one the layer has.
 */
function variableOf(name: string, value: unknown): FileVariable {
  const dims = extentsOf(value);
  return {
    name,
    location: name,
    type: "float32",
    dims,
    read(): Tensor {
      const data = Float64Array.from(numbersOf(value, dims, name));
      return { type: "float64", dims, data };
    },
  };
}

/** Every list in nested objects, by the names of what it is in. */
function* listsIn(
  value: JsonObject,
  prefix: string,
): Generator<[name: string, list: unknown[]]> {
  for (const [key, item] of Object.entries(value)) {
    const name = prefix + key;
    if (Array.isArray(item)) yield [name, item];
    else if (isObject(item)) yield* listsIn(item, `${name}/`);
  }
}

/** Whether a list has lists, or is empty as a layer's without weights. */
function isListOfLists(list: readonly unknown[]): boolean {
  return list.every(Array.isArray);
}

/**
 * Whether lists by name are layers' lists of variables, and not variables: no
 * name is a variable's, and none is a vector.
 */
function areLayers(lists: readonly [string, unknown[]][]): boolean {
  return lists.every(([name, list]) =>
    isListOfLists(list) && !VARIABLE.test(canonicalName(name))
  );
}

/** Whether a list is one of numbers, as its first members tell; empty ones can be. */
function isNumeric(list: unknown): boolean {
  let item = list;
  while (Array.isArray(item)) item = item[0];
  return item === undefined || item === null || item === NAN_TEXT ||
    typeof item === "number";
}

/** A model's configuration is JSON as well. */
function refuseConfig(value: JsonObject, what: string): void {
  if (!("class_name" in value && "config" in value)) return;
  throw new FormatError(
    `Cannot read ${what}: it is a model's configuration without weights; load the weights, and give it as the option config`,
  );
}

/**
 * The variables in a parsed JSON file. Lists of anything but numbers are left
 * out.
 *
 * @param value What was parsed.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is neither a list of lists nor an object with
 * lists.
 */
export function jsonVariables(value: unknown, what: string): FileVariable[] {
  if (Array.isArray(value)) {
    if (value.length > 0 && isListOfLists(value) && value.every(isNumeric)) {
      return value.map((item, i) => variableOf(String(i), item));
    }
  } else if (isObject(value)) {
    refuseConfig(value, what);
    const lists = [...listsIn(value, "")].filter(([, list]) =>
      isListOfLists(list) ? list.every(isNumeric) : isNumeric(list)
    );
    if (areLayers(lists)) {
      const variables = lists.flatMap(([name, list]) =>
        list.map((item, i) => variableOf(`${name}/${i}`, item))
      );
      if (variables.length > 0) return variables;
    } else return lists.map(([name, list]) => variableOf(name, list));
  }
  throw new FormatError(
    `Cannot load Keras weights from ${what}: expected what get_weights() gives, a list of lists of numbers, or an object with such lists or with variables by name`,
  );
}

/** Lists of numbers, and any other JSON, of which it is said that it is none. */
export const JSON_WEIGHTS_FORMAT: FormatReader = {
  what: "JSON",
  rank: 0,
  detect: (probe) => probe.looksLikeJson,
  async open(file, _folder, probe) {
    const variables = jsonVariables(await probe.json(), file.name);
    return {
      format: "json",
      kerasVersion: undefined,
      config: undefined,
      weights: { kind: "flat", name: stemOf(file), variables },
      close: () => {},
    };
  },
};
