/**
 * `writeKeras`: BatchNormalization layers as a file that others read.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { checkKnown } from "../known_options.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { isObject } from "../layer/keras_object.ts";
import { writeJson } from "./write/json.ts";
import { writeKerasArchive } from "./write/keras_archive.ts";
import type { WriteModelOptions } from "./write/model.ts";
import { writeNpz } from "./write/npz.ts";
import { writeSafetensors } from "./write/safetensors.ts";
import { writeWeightsH5 } from "./write/weights_h5.ts";
import { type WritableLayer, writableLayers } from "./write/writable.ts";

/**
 * A format that {@linkcode writeKeras} writes:
 *
 * | | |
 * |---|---|
 * | `"npz"` | NumPy arrays by names such as `bn/gamma`, for `np.load` |
 * | `"safetensors"` | the same, with the layers' configurations in the metadata |
 * | `"json"` | lists of numbers by layer and name, for Python's `json.load` |
 * | `"keras"` | a model of these layers, for `keras.models.load_model` |
 * | `"weights.h5"` | that model's weights only, for `model.load_weights` |
 */
export type WriteKerasFormat =
  | "npz"
  | "safetensors"
  | "json"
  | "keras"
  | "weights.h5";

/** How {@linkcode writeKeras} writes. */
export interface WriteKerasOptions {
  /** The format. */
  readonly format: WriteKerasFormat;
  /**
   * The shapes of the layers' inputs by name, with the batch and null for
   * extents that vary, for a format that holds a model; for others, the least
   * that a layer's axis and variables ask for.
   */
  readonly inputShapes?: ReadonlyMap<string, readonly (number | null)[]>;
}

type Writer = (
  layers: readonly WritableLayer[],
  options: WriteModelOptions,
) => Uint8Array | Promise<Uint8Array>;

/** All formats; a new one is one line here and one in {@linkcode WriteKerasFormat}. */
const WRITERS: Readonly<Record<WriteKerasFormat, Writer>> = {
  npz: writeNpz,
  safetensors: writeSafetensors,
  json: writeJson,
  keras: writeKerasArchive,
  "weights.h5": writeWeightsH5,
};

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof WriteKerasOptions, true>> = {
  format: true,
  inputShapes: true,
};

function writerOf(options: WriteKerasOptions): Writer {
  if (!isObject(options)) {
    throw new OptionError(
      "Cannot use the options of writeKeras: expected an object with a format",
    );
  }
  checkKnown("writeKeras", options, KNOWN);
  const { format, inputShapes } = options;
  if (inputShapes !== undefined && !(inputShapes instanceof Map)) {
    throw new OptionError(
      "Cannot use the option inputShapes: expected a Map of shapes by name, such as [null, 28, 28, 64]",
    );
  }
  if (!Object.hasOwn(WRITERS, format)) {
    throw new OptionError(
      `Cannot use format "${format}": expected ${
        Object.keys(WRITERS).map((name) => `"${name}"`).join(", ")
      }`,
    );
  }
  return WRITERS[format];
}

/**
 * Writes BatchNormalization layers with their variables, without loss.
 *
 * The same layers give the same bytes. What a format does not hold, the
 * reader must be told: `.npz` and JSON have variables only, so that
 * `loadKeras` needs epsilon, momentum and axis in its option `layers` or
 * `config` if they are not Keras' defaults; with JSON it needs the dtype too,
 * if it is not float32.
 *
 * @param layers The layers by name, such as `loadKeras` gives them; a name can
 * have parts, joined with `/`.
 * @param options The format, and the shapes of inputs.
 * @returns The bytes of the file.
 *
 * @throws {OptionError} If an option is unknown or names no layer, there are
 * no layers, a name is one that files cannot hold, or a layer has no variables
 * yet.
 * @throws {ShapeError} If a shape does not fit its layer.
 *
 * @example Write a layer for NumPy
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKeras, writeKeras } from "@evenkeel/evenkeel";
 *
 * const model = await loadKeras("testdata/keras/tfk_sequential.h5");
 * const bytes = await writeKeras(model.batchNormalizations, { format: "npz" });
 * const again = await loadKeras(bytes);
 * assertEquals(
 *   again.batchNormalizations.get("batch_normalization")!.getWeights(),
 *   model.batchNormalizations.get("batch_normalization")!.getWeights(),
 * );
 * ```
 */
export async function writeKeras(
  layers: ReadonlyMap<string, BatchNormalization>,
  options: WriteKerasOptions,
): Promise<Uint8Array> {
  const write = writerOf(options);
  const { inputShapes } = options;
  return await write(writableLayers(layers), { inputShapes });
}
