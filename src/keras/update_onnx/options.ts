/**
 * The options of `pairKeras` and `updateFromKeras`.
 *
 * @module
 */

import { OptionError } from "../../errors.ts";
import { checkKnown } from "../../known_options.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { ExternalDataSource } from "../../onnx/external_data.ts";
import type { KerasSource } from "../files/source.ts";
import type { LoadKerasOptions } from "../load/types.ts";

/** How {@linkcode pairKeras} and {@linkcode updateFromKeras} find layers in a graph. */
export interface PairOptions {
  /**
   * Where layers are, for those that cannot be found otherwise: the name of a
   * node, or of a list of nodes for a layer that the model uses several times,
   * by the layer's key. `null` leaves a layer out.
   */
  readonly map?:
    | ReadonlyMap<string, string | readonly string[] | null>
    | Readonly<Record<string, string | readonly string[] | null>>;
  /**
   * The Keras file that the ONNX model was made of: a layer is where its old
   * weights are, and a model of other weights is refused.
   */
  readonly was?: KerasSource;
  /** The files that hold elements outside of the ONNX model. */
  readonly externalData?: ExternalDataSource;
  /** How both Keras files are read, such as the `config` of weights. */
  readonly load?: LoadKerasOptions;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof PairOptions, true>> = {
  map: true,
  was: true,
  externalData: true,
  load: true,
};

/** A node's names by the layer's, as a caller gave them. */
export type PairMap = ReadonlyMap<string, readonly string[] | null>;

/** The option `map`, each as a list. */
function mapOf(map: PairOptions["map"] = {}): PairMap {
  if (!isObject(map) && !(map instanceof Map)) {
    throw new OptionError(
      "Cannot use the option map: expected a Map or an object, from layers to the names of nodes",
    );
  }
  const entries: [string, unknown][] = map instanceof Map
    ? [...map]
    : Object.entries(map);
  return new Map(entries.map(([layer, value]) => {
    if (value === null) return [layer, null];
    const names = typeof value === "string" ? [value] : value;
    const isList = Array.isArray(names) && names.length > 0 &&
      names.every((name) => typeof name === "string");
    if (isList) return [layer, names as string[]];
    throw new OptionError(
      `Cannot use the option map for layer "${layer}": expected a node's name, a list of names, or null to leave it out`,
    );
  }));
}

/**
 * Checks the options.
 *
 * @returns The option `map`, each as a list.
 *
 * @throws {OptionError} If an option is unknown, or of a wrong type.
 */
export function checkPairOptions(options: PairOptions): PairMap {
  checkKnown("the pairing", options, KNOWN);
  return mapOf(options.map);
}
