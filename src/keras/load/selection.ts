/**
 * The layers of a file by what a caller calls them: keys, and the options
 * that name layers.
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import { didYouMean } from "../../near_matches.ts";
import type { Found } from "../contents/found.ts";
import type { LoadKerasOptions } from "./types.ts";

/** A layer with its key. */
export interface Keyed {
  readonly key: string;
  readonly found: Found;
}

/** Gives every layer a key of its own. */
export function withKeys(found: readonly Found[]): Keyed[] {
  const taken = new Map<string, number>();
  return found.map((each) => {
    const path = each.path.join("/");
    const count = (taken.get(path) ?? 0) + 1;
    taken.set(path, count);
    return { key: count === 1 ? path : `${path}#${count}`, found: each };
  });
}

function isCalled({ key, found }: Keyed, wanted: string): boolean {
  return [key, found.name, found.location].includes(wanted);
}

/**
 * The layers that an option names, each with the name.
 *
 * @param option The option, for messages.
 * @param names Keys, names or locations; all layers of that name are meant.
 * @param layers The layers of the file.
 *
 * @throws {OptionError} If a name is no layer's.
 */
export function select(
  option: string,
  names: readonly string[],
  layers: readonly Keyed[],
): Map<Keyed, string> {
  const selected = new Map<Keyed, string>();
  for (const name of names) {
    const called = layers.filter((layer) => isCalled(layer, name));
    if (called.length === 0) {
      throw new OptionError(
        `Cannot use "${name}" in the option ${option}: the file has no such layer${
          didYouMean(name, layers.map(({ key }) => key))
        }`,
      );
    }
    for (const layer of called) selected.set(layer, name);
  }
  return selected;
}

/**
 * The option `layers` as configurations by name; empty ones for a list.
 *
 * @throws {OptionError} If it is neither a list nor an object of objects.
 */
export function namedLayers(
  layers: LoadKerasOptions["layers"] = [],
): ReadonlyMap<string, KerasConfig> {
  if (Array.isArray(layers)) return new Map(layers.map((name) => [name, {}]));
  if (!isObject(layers) || !Object.values(layers).every(isObject)) {
    throw new OptionError(
      "Cannot use the option layers: expected a list of names, or an object with a configuration for each",
    );
  }
  return new Map(Object.entries(layers));
}
