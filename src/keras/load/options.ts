/**
 * The options of `loadKeras`, checked before anything is read.
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import { KERNELS } from "../../kernels/dispatch.ts";
import { checkKernelChoice } from "../../kernels/dispatcher.ts";
import { checkKnown } from "../../known_options.ts";
import { isObject } from "../../layer/keras_object.ts";
import { checkKerasVersion } from "../../layer/keras_version.ts";
import type { LoadKerasOptions } from "./types.ts";

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof LoadKerasOptions, true>> = {
  config: true,
  layers: true,
  only: true,
  kerasVersion: true,
  signal: true,
  kernels: true,
};

function isNames(value: unknown): boolean {
  return Array.isArray(value) &&
    value.every((name) => typeof name === "string");
}

/**
 * Checks what can be checked without the file.
 *
 * @throws {OptionError} If an option is unknown, or of a wrong type or value.
 */
export function checkLoadOptions(options: LoadKerasOptions): void {
  checkKnown("loadKeras", options, KNOWN);
  const { config, layers, only, kerasVersion, kernels, signal } = options;
  if (kerasVersion !== undefined) checkKerasVersion(kerasVersion);
  if (kernels !== undefined) checkKernelChoice(kernels, KERNELS);
  if (only !== undefined && !isNames(only)) {
    throw new OptionError(
      `Cannot use the option only: expected a list of names${
        typeof only === "string" ? `, such as [${JSON.stringify(only)}]` : ""
      }`,
    );
  }
  if (Array.isArray(layers) && !isNames(layers)) {
    throw new OptionError(
      "Cannot use the option layers: expected a list of names, or an object with a configuration for each",
    );
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new OptionError(
      "Cannot use the option signal: expected an AbortSignal, such as AbortSignal.timeout(10_000)",
    );
  }
  if (config !== undefined && typeof config !== "string" && !isObject(config)) {
    throw new OptionError(
      "Cannot use the option config: expected the model's configuration as JSON or as an object",
    );
  }
}
