/**
 * Opening a Keras file for a sub-command.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import { loadKeras } from "../keras/load.ts";
import type { KerasModel } from "../keras/types.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { guessShape, type InputShape } from "./shapes.ts";
import { UsageError } from "./command.ts";

/** A BatchNormalization layer of a file. */
export interface NamedLayer {
  /** Its path in nested models, with `/` between. */
  readonly name: string;
  /** The layer, with the file's weights. */
  readonly layer: BatchNormalization;
  /** Its input's shape, as far as it is known. */
  readonly shape: InputShape;
  /** Whether the file tells the input's rank. */
  readonly certain: boolean;
}

/** A file and its BatchNormalization layers in model order. */
export interface OpenedModel {
  /** The file's model. */
  readonly model: KerasModel;
  /** Its BatchNormalization layers. */
  readonly layers: readonly NamedLayer[];
}

/** Loads a file; every error names it. */
async function loadNamed(path: string): Promise<KerasModel> {
  try {
    return await loadKeras(path);
  } catch (error) {
    if (!(error instanceof FormatError) || error.message.includes(path)) {
      throw error;
    }
    throw new FormatError(`${path}: ${error.message}`, { cause: error });
  }
}

/**
 * Reads a Keras file.
 *
 * @param path The file.
 * @param only The name of the one layer that is wanted; all by default.
 *
 * @throws {FormatError} If the file cannot be read.
 * @throws {UsageError} If it has no layer of that name.
 */
export async function openModel(
  path: string,
  only?: string,
): Promise<OpenedModel> {
  const model = await loadNamed(path);
  const names = [...model.batchNormalizations.keys()];
  if (only !== undefined && !names.includes(only)) {
    throw new UsageError(
      `No BatchNormalization layer "${only}" in ${path}, expected one of ${
        names.map((name) => `"${name}"`).join(", ") ||
        "none: it has no such layers"
      }`,
    );
  }
  const shapes = new Map(
    model.layers.map(({ key, inputShape }) => [key, inputShape]),
  );
  const layers = [...model.batchNormalizations]
    .filter(([name]) => only === undefined || name === only)
    .map(([name, layer]) => {
      const known = shapes.get(name) ?? layer.options.batchInputShape;
      const guess = guessShape(layer);
      return {
        name,
        layer,
        shape: known ?? guess.shape,
        certain: known != null || guess.certain,
      };
    });
  return { model, layers };
}
