/**
 * The options of sub-commands that read a source of layers.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import { FormatError } from "../errors.ts";
import type { LoadKerasOptions } from "../keras/load/types.ts";
import { isObject } from "../layer/keras_object.ts";
import { parseJsonObject } from "../keras/files/json.ts";
import { type Arguments, type Option, UsageError } from "./command.ts";

/** What `loadKeras` is told beside the source. */
export type SourceOptions = Pick<LoadKerasOptions, "config" | "layers">;

/** The options that tell what a source does not. */
export const SOURCE_OPTIONS: Readonly<Record<string, Option>> = {
  config: {
    type: "string",
    value: "CONFIG.json",
    help: "the Keras model, for files of weights only",
  },
  layers: {
    type: "string",
    value: "JSON",
    help: `settings by layer: '{"bn": {"axis": 1}}'`,
  },
};

/** What a source is, for the help of those sub-commands. */
export const SOURCE_DETAILS =
  `FILE is a Keras model or its weights (.h5, .weights.h5, .keras, shards by their
.weights.json), a TensorFlow checkpoint (its prefix or .index) or SavedModel
folder, a TensorFlow.js model.json or its folder, .npz, .npy, .safetensors, JSON
or .onnx; or the URL of one, which needs --allow-net.`;

/** What a sub-command that reads a source needs beside its permissions. */
export const NET_FOR_URLS = ", and --allow-net for a URL";

/**
 * The text of the option `--config`.
 *
 * @throws {FormatError} If the file cannot be read.
 */
export async function readConfig(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new FormatError(
      `Cannot read "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
}

function readLayers(
  option: string,
  text: string,
): NonNullable<SourceOptions["layers"]> {
  let given: unknown;
  try {
    given = parseJsonObject(text, `--${option}`);
  } catch {
    // Said below.
  }
  if (isObject(given) && Object.values(given).every(isObject)) {
    return given as NonNullable<SourceOptions["layers"]>;
  }
  throw new UsageError(
    `Cannot read --${option} ${text}: expected a JSON object with an object for each layer, such as '{"bn": {"axis": 1, "epsilon": 1e-5}}', or '{"bn": {}}' for Keras' defaults`,
  );
}

/**
 * Reads these options.
 *
 * @param args The arguments.
 * @param prefix What stands before the options' names.
 *
 * @throws {UsageError} If one is not JSON of the right kind.
 * @throws {FormatError} If a file cannot be read.
 */
export async function readSourceOptions(
  { options }: Arguments,
  prefix = "",
): Promise<SourceOptions> {
  const config = options[`${prefix}config`];
  const layers = options[`${prefix}layers`];
  return {
    ...(typeof config === "string" ? { config: await readConfig(config) } : {}),
    ...(typeof layers === "string"
      ? { layers: readLayers(`${prefix}layers`, layers) }
      : {}),
  };
}
