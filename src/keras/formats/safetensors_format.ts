/**
 * safetensors files as a source of weights.
 *
 * @module
 */

import type { FormatReader } from "../contents/format_reader.ts";
import { parseJsonObject } from "../files/json.ts";
import { stemOf } from "../files/source_file.ts";
import { headerLength, readSafetensors } from "./safetensors.ts";

/**
 * Keys of the metadata that `writeKeras` writes: the layers' configurations
 * as a model's, and the release that they follow.
 */
export const CONFIG_KEY = "keras_config";
export const VERSION_KEY = "keras_version";

/** Tensors by name. */
export const SAFETENSORS_FORMAT: FormatReader = {
  what: "safetensors",
  rank: 1,
  detect: ({ head, file }) => headerLength(head, file.size) !== undefined,
  async open(file) {
    const { variables, metadata } = await readSafetensors(file);
    const config = metadata.get(CONFIG_KEY);
    return {
      format: "safetensors",
      kerasVersion: metadata.get(VERSION_KEY),
      config: config === undefined
        ? undefined
        : parseJsonObject(config, `${CONFIG_KEY} of ${file.name}`),
      weights: { kind: "flat", name: stemOf(file), variables },
      close: () => {},
    };
  },
};
