/**
 * Opening a source of layers for a sub-command.
 *
 * @module
 */

import { FormatError, OptionError } from "../errors.ts";
import { loadKeras } from "../keras/load.ts";
import type {
  KerasLayer,
  KerasModel,
  LoadKerasOptions,
} from "../keras/load/types.ts";
import { type InputShape, leastShape } from "../keras/model/least_shape.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { UsageError } from "./command.ts";
import type { SourceOptions } from "./source.ts";

/** A BatchNormalization layer of a file. */
export interface NamedLayer {
  /** Its path in nested models, with `/` between. */
  readonly name: string;
  /** The layer, with the file's weights. */
  readonly layer: BatchNormalization;
  /** What the file says about it. */
  readonly found: KerasLayer;
  /** Its input's shape, as far as it is known. */
  readonly shape: InputShape;
  /** Whether the file tells the input's rank. */
  readonly certain: boolean;
}

/** A file and its BatchNormalization layers in model order. */
export interface OpenedModel {
  /** The file's model. */
  readonly model: KerasModel;
  /** Its BatchNormalization layers, or those that were asked for. */
  readonly layers: readonly NamedLayer[];
}

/** How {@linkcode openModel} reads. */
export interface OpenOptions extends SourceOptions {
  /** The layers that are wanted, by key, name or location; all by default. */
  readonly only?: readonly string[];
}

/** Loads a file; every error names it. */
async function loadNamed(
  path: string,
  options: LoadKerasOptions,
): Promise<KerasModel> {
  try {
    return await loadKeras(path, options);
  } catch (error) {
    if (!(error instanceof FormatError) || error.message.includes(path)) {
      throw error;
    }
    throw new FormatError(`${path}: ${error.message}`, { cause: error });
  }
}

function isCalled({ key, name, location }: KerasLayer, wanted: string) {
  return [key, name, location].includes(wanted);
}

function unknownLayer(
  path: string,
  wanted: string,
  { layers }: KerasModel,
): UsageError {
  const it = layers.find((each) => isCalled(each, wanted));
  if (it?.reason !== undefined && !it.loaded) {
    return new UsageError(
      `Cannot use the layer "${wanted}" of ${path}: ${it.reason}`,
    );
  }
  const names = layers.filter(({ loaded }) => loaded).map(({ key }) => key);
  return new UsageError(
    `No BatchNormalization layer "${wanted}" in ${path}, expected one of ${
      names.map((name) => `"${name}"`).join(", ") ||
      "none: it has no such layers"
    }`,
  );
}

/** Loads the layers that are asked for; of others, no weight is read. */
async function loadOnly(
  path: string,
  only: readonly string[],
  options: SourceOptions,
): Promise<KerasModel> {
  let model: KerasModel;
  try {
    model = await loadNamed(path, { ...options, only });
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    // Which of the options is wrong shows without this one, unless it is.
    model = await loadNamed(path, options);
  }
  const missing = only.find((wanted) =>
    !model.layers.some((each) => each.loaded && isCalled(each, wanted))
  );
  if (missing !== undefined) {
    throw unknownLayer(path, missing, await loadNamed(path, options));
  }
  return model;
}

function named(model: KerasModel): NamedLayer[] {
  return model.layers.filter(({ loaded }) => loaded).map((found) => {
    const layer = model.batchNormalizations.get(found.key)!;
    const known = found.inputShape ?? layer.options.batchInputShape;
    const least = known ? undefined : leastShape(layer);
    return {
      name: found.key,
      layer,
      found,
      shape: known ?? least!.shape,
      certain: known != null || least!.certain,
    };
  });
}

/**
 * Reads a source of layers.
 *
 * @param path The source: what `loadKeras` takes as a string.
 * @param options What the source does not tell, and which layers are wanted.
 *
 * @throws {FormatError} If it cannot be read.
 * @throws {UsageError} If it has no layer of a name, or an option does not
 * fit it.
 */
export async function openModel(
  path: string,
  { only = [], ...options }: OpenOptions = {},
): Promise<OpenedModel> {
  try {
    const model = only.length > 0
      ? await loadOnly(path, only, options)
      : await loadNamed(path, options);
    return { model, layers: named(model) };
  } catch (error) {
    if (!(error instanceof OptionError) || error instanceof UsageError) {
      throw error;
    }
    // The options come from the command line.
    throw new UsageError(error.message, { cause: error });
  }
}
