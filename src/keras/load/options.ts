/**
 * The options of `loadKeras`, checked before anything is read.
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import { KERNELS } from "../../kernels/dispatch.ts";
import { isObject } from "../../layer/keras_object.ts";
import { KERAS_VERSIONS } from "../../layer/keras_version.ts";
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

function checkChoice(
  option: string,
  value: unknown,
  choices: readonly string[],
): void {
  if (value === undefined || choices.includes(value as string)) return;
  throw new OptionError(
    `Cannot use ${option} "${value}": expected ${
      choices.map((choice) => `"${choice}"`).join(", ")
    }`,
  );
}

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
  if (!isObject(options)) {
    throw new OptionError(
      "Cannot use the options of loadKeras: expected an object",
    );
  }
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(KNOWN, key)) {
      throw new OptionError(
        `Cannot use the option "${key}" of loadKeras: expected one of ${
          Object.keys(KNOWN).join(", ")
        }`,
      );
    }
  }
  const { config, layers, only, kerasVersion, kernels, signal } = options;
  checkChoice("kerasVersion", kerasVersion, KERAS_VERSIONS);
  checkChoice("kernels", kernels, [
    "auto",
    ...KERNELS.map(({ name }) => name),
  ]);
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
