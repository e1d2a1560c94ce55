/**
 * A Keras file that stays open: its BatchNormalization layers, and the
 * variables of the other layers, which are read when they are asked for.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { Contents, FileVariable } from "../contents/contents.ts";
import { type KerasSource, openSource } from "../files/source.ts";
import { openContents } from "../formats/detect.ts";
import { scopeOfPath, scopesOf } from "../match/weight_scopes.ts";
import { givenConfig } from "../model/config.ts";
import { findLayers } from "./find_layers.ts";
import { checkLoadOptions } from "./options.ts";
import { readModel } from "./read_model.ts";
import type { Keyed } from "./selection.ts";
import type { KerasModel, LoadKerasOptions } from "./types.ts";

/** A Keras file, open. */
export interface OpenedKeras {
  readonly model: KerasModel;
  /** The variables of a layer, by the names down to it; empty if none are found. */
  variablesOf(path: readonly string[]): readonly FileVariable[];
}

/** Variables by a layer's own scope, such as `block/conv` of `block/conv/kernel:0`. */
function inScopes(
  variables: readonly FileVariable[],
  path: readonly string[],
): readonly FileVariable[] {
  const scopes = scopesOf(variables);
  return scopeOfPath(scopes, path, false, ["path", "own"])?.variables ?? [];
}

function variablesIn(
  { weights }: Contents,
  layers: readonly Keyed[],
  path: readonly string[],
): readonly FileVariable[] {
  switch (weights.kind) {
    case "named": {
      const group = weights.groups.find(({ name }) => name === path[0]) ??
        weights.groups.find(({ name }) => name === "");
      if (!group) return [];
      const found = inScopes(group.variables, path);
      // A group that is one layer's has its variables, however they are named.
      return found.length > 0 || path.length > 1 || group.name === ""
        ? found
        : group.variables;
    }
    case "flat":
      return inScopes(weights.variables, path);
    default: {
      const key = path.join("/");
      return layers.find((layer) => layer.key === key)?.found.variables ?? [];
    }
  }
}

function opened(
  contents: Contents,
  model: KerasModel,
  layers: readonly Keyed[],
): OpenedKeras {
  const known = new Map<string, readonly FileVariable[]>();
  return {
    model,
    variablesOf(path) {
      const key = path.join("/");
      const variables = known.get(key) ?? variablesIn(contents, layers, path);
      known.set(key, variables);
      return variables;
    },
  };
}

/**
 * Opens a Keras file while something is done with it.
 *
 * @param source What `loadKeras` takes.
 * @param options What `loadKeras` takes.
 * @param use What is done with the file; variables must not be read later.
 * @returns What `use` returns.
 *
 * @throws {FormatError} What `loadKeras` throws, and reading a variable.
 */
export async function withKeras<T>(
  source: KerasSource,
  options: LoadKerasOptions,
  use: (keras: OpenedKeras) => T | Promise<T>,
): Promise<T> {
  checkLoadOptions(options);
  const files = await openSource(source, { signal: options.signal });
  try {
    const contents = await openContents(files);
    try {
      const model = await readModel(contents, options);
      const config: KerasConfig | undefined = options.config === undefined
        ? contents.config
        : givenConfig(options.config);
      const layers = await findLayers(contents, config);
      return await use(opened(contents, model, layers));
    } finally {
      contents.close();
    }
  } finally {
    await files.close();
  }
}
