/**
 * The formats of which a JSON file names the files with the weights.
 *
 * @module
 */

import { isObject } from "../../layer/keras_object.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import type { Probe } from "../contents/probe.ts";
import type { JsonObject } from "../files/json.ts";
import { isTfjs, openTfjs } from "../tfjs/model.ts";
import { isShardIndex, openShardedWeights } from "./sharded_weights.ts";

/** Whether a file is a JSON object for which something holds. */
async function isJson(
  probe: Probe,
  holds: (json: JsonObject) => boolean,
): Promise<boolean> {
  if (!probe.looksLikeJson) return false;
  const json = await probe.json();
  return isObject(json) && holds(json);
}

/** TensorFlow.js models. */
export const TFJS_FORMAT: FormatReader = {
  what: "a TensorFlow.js model.json",
  rank: 2,
  detect: (probe) => isJson(probe, isTfjs),
  open: (file, folder) => openTfjs(file, (name) => folder.open(name)),
};

/** Keras 3's weights in shards. */
export const SHARDED_FORMAT: FormatReader = {
  what: "a Keras .weights.json",
  rank: 2,
  detect: (probe) => isJson(probe, isShardIndex),
  open: (file, folder) => openShardedWeights(file, (name) => folder.open(name)),
};
