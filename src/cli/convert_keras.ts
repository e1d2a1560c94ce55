/**
 * `evenkeel convert` to files of Keras and of arrays.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import type { InputShape } from "../keras/model/least_shape.ts";
import { writeKeras } from "../keras/write.ts";
import { writeTfjs } from "../keras/write_tfjs.ts";
import { UsageError } from "./command.ts";
import { isSameFile, writeWhole } from "./files.ts";
import { checkNewFolder, folderOf, writeFolder } from "./folders.ts";
import type { NamedLayer } from "./model.ts";
import type { OutputFormat } from "./output_format.ts";

/** Formats that say which inputs their layers are for. */
export const WITH_SHAPES: readonly OutputFormat[] = ["onnx", "keras", "tfjs"];

/** A file that is to be written, whole, or a folder. */
export interface Built {
  /** Where it goes. */
  readonly path: string;
  /** A folder's files by name, or a file's bytes. */
  readonly content: Uint8Array | ReadonlyMap<string, Uint8Array>;
}

/**
 * Builds a file of layers, or a TensorFlow.js model's folder.
 *
 * @param shapes The shapes of their inputs, for formats that hold them.
 *
 * @throws {UsageError} If a shape from the command line does not fit.
 */
export async function buildFile(
  layers: readonly NamedLayer[],
  format: Exclude<OutputFormat, "onnx">,
  shapes: ReadonlyMap<string, InputShape>,
  path: string,
): Promise<Built> {
  const map = new Map(layers.map(({ name, layer }) => [name, layer]));
  const inputShapes = WITH_SHAPES.includes(format) ? shapes : new Map();
  try {
    if (format === "tfjs") {
      const folder = folderOf(path, "model.json");
      await checkNewFolder(folder);
      return { path: folder, content: writeTfjs(map, { inputShapes }) };
    }
    return { path, content: await writeKeras(map, { format, inputShapes }) };
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

/** How many bytes something has that is written. */
export function sizeOf({ content }: Built): number {
  return content instanceof Uint8Array
    ? content.length
    : [...content.values()].reduce((sum, { length }) => sum + length, 0);
}

/**
 * Writes what was built.
 *
 * @throws {EvenkeelError} If it cannot be written; then nothing is.
 */
export async function writeBuilt({ path, content }: Built): Promise<void> {
  if (content instanceof Uint8Array) await writeWhole(path, content);
  else await writeFolder(path, content);
}

/**
 * Checks that an output is not what is read.
 *
 * @throws {UsageError} If it is.
 */
export async function checkOutput(path: string, input: string): Promise<void> {
  if (await isSameFile(path, input)) {
    throw new UsageError(
      `Cannot write to ${path}: it is the file itself that the layers are read from`,
    );
  }
}
