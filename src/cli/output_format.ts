/**
 * Which format `evenkeel convert` writes.
 *
 * @module
 */

import { stat } from "node:fs/promises";
import type { WriteKerasFormat } from "../keras/write.ts";
import { UsageError } from "./command.ts";

/** A format that `evenkeel convert` writes. */
export type OutputFormat = WriteKerasFormat | "onnx" | "tfjs";

/** The names that tell a format, the more telling first. */
const NAMES: readonly (readonly [OutputFormat, RegExp, string])[] = [
  ["onnx", /\.onnx$/i, "NAME.onnx"],
  ["npz", /\.npz$/i, "NAME.npz"],
  ["safetensors", /\.safetensors$/i, "NAME.safetensors"],
  ["weights.h5", /\.weights\.h5$/i, "NAME.weights.h5"],
  ["keras", /\.keras$/i, "NAME.keras"],
  ["tfjs", /(^|[/\\])model\.json$|[/\\]$/i, "FOLDER/ (TensorFlow.js)"],
  // Keras' index of shards is another one.
  ["json", /(?<!\.weights)\.json$/i, "NAME.json"],
];

/** All formats. */
export const OUTPUT_FORMATS: readonly OutputFormat[] = NAMES.map(([format]) =>
  format
);

/** What to say about names of formats that are only read. */
const ONLY_READ: readonly (readonly [RegExp, string])[] = [
  [
    /\.(h5|hdf5)$/i,
    "Keras' older .h5 is not written anew, write .weights.h5 or .keras; --into replaces the weights of an existing one",
  ],
  [
    /\.weights\.json$/i,
    "Keras' shards are not written anew, write .weights.h5; --into replaces the weights of existing ones",
  ],
];

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/**
 * The format that an output's name or `--format` tells.
 *
 * @throws {UsageError} If neither does.
 */
export async function outputFormat(
  output: string,
  given: unknown,
): Promise<OutputFormat> {
  if (given !== undefined) {
    const format = OUTPUT_FORMATS.find((each) => each === given);
    if (format) return format;
    throw new UsageError(
      `Cannot use --format ${given}: expected ${OUTPUT_FORMATS.join(", ")}`,
    );
  }
  const known = NAMES.find(([, pattern]) => pattern.test(output));
  if (known) return known[0];
  if (await isFolder(output)) return "tfjs";
  const advice = ONLY_READ.find(([pattern]) => pattern.test(output))?.[1];
  throw new UsageError(
    `Cannot tell the format of ${output}: ${
      advice ??
        `expected ${NAMES.map(([, , name]) => name).join(", ")}, or --format`
    }`,
  );
}
