/**
 * All files of a model on the disk.
 *
 * @module
 */

import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FormatError } from "../errors.ts";
import type { KerasFormat } from "../keras/contents/keras_format.ts";
import { parseJsonObject } from "../keras/files/json.ts";
import { relativeParts } from "../keras/files/source_file.ts";
import { isObject } from "../layer/keras_object.ts";

/** A model's files. */
export interface ModelFiles {
  /** The name of the file that names the others; of a single file, its own. */
  readonly main: string;
  /** Their bytes by name, as seen from the main file's folder. */
  readonly files: Map<string, Uint8Array>;
}

/** The values of an index that may be names, of which the reader has checked all. */
const NAMED_BY: Readonly<
  Partial<Record<KerasFormat, (index: Record<string, unknown>) => unknown[]>>
> = {
  "tfjs-layers": pathsOfManifest,
  "tfjs-graph": pathsOfManifest,
  "weights.json": ({ weight_map }) =>
    Object.values(isObject(weight_map) ? weight_map : {}).flat(),
};

function pathsOfManifest({ weightsManifest }: Record<string, unknown>) {
  const groups: unknown[] = Array.isArray(weightsManifest)
    ? weightsManifest
    : [];
  return groups.flatMap((group) => isObject(group) ? group.paths : []);
}

/** Whether a model of a format has several files. */
export function hasSeveralFiles(format: KerasFormat): boolean {
  return Object.hasOwn(NAMED_BY, format);
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new FormatError(
      `Cannot read "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The file in a folder that names the others. */
async function mainPath(path: string): Promise<string> {
  const isFolder = await stat(path).then((found) => found.isDirectory())
    .catch(() => false);
  return isFolder ? join(path, "model.json") : path;
}

/**
 * Reads the files of a model that `loadKeras` has read from a path.
 *
 * @throws {FormatError} If one cannot be read, or is not in the model's folder.
 */
export async function readModelFiles(
  path: string,
  format: KerasFormat,
): Promise<ModelFiles> {
  const main = await mainPath(path);
  const bytes = await read(main);
  const files = new Map([[basename(main), bytes]]);
  const namesIn = NAMED_BY[format];
  if (namesIn) {
    const index = parseJsonObject(new TextDecoder().decode(bytes), main);
    for (const name of namesIn(index)) {
      if (typeof name !== "string") continue;
      const parts = relativeParts(name);
      files.set(parts.join("/"), await read(join(dirname(main), ...parts)));
    }
  }
  return { main: basename(main), files };
}
