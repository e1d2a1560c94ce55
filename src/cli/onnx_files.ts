/**
 * ONNX files of a sub-command, with the files that hold their external data.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { mkdir, readFile, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { FormatError } from "../errors.ts";
import { checkLocation, type ExternalData } from "../onnx/external_data.ts";
import {
  externalFiles,
  type ExternalFinder,
  externalFinder,
  isBelow,
} from "../onnx/external_files.ts";
import { type OnnxModel, openOnnx } from "../onnx/onnx_model.ts";
import { type OpenModel, openModel } from "../onnx/open.ts";
import { UsageError } from "./command.ts";
import { checkTarget, followLinks, stageFile, writeError } from "./files.ts";

/** The output of a sub-command that writes a model. */
export function outputOf(command: string, output: unknown): string {
  if (typeof output === "string") return output;
  throw new UsageError(
    `Expected -o OUT.onnx; see evenkeel ${command} --help`,
  );
}

/** Reads an ONNX file, and opens it with the files of its folder. */
async function readOnnx<T>(
  path: string,
  open: (bytes: Uint8Array, externalData: ExternalData) => T,
): Promise<T> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new FormatError(
      `Cannot read "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
  try {
    return open(bytes, await externalFiles(dirname(path)));
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(
      `${path} is no ONNX model, or damaged: ${error.message}`,
      { cause: error },
    );
  }
}

/**
 * Opens an ONNX file, with external data from its folder.
 *
 * @throws {FormatError} If it cannot be read, or is no ONNX model.
 */
export async function openOnnxFile(
  path: string,
): Promise<{ readonly model: OnnxModel; readonly bytes: Uint8Array }> {
  return await readOnnx(path, (bytes, externalData) => ({
    model: openOnnx(bytes, { externalData }),
    bytes,
  }));
}

/**
 * Decodes an ONNX file as edits need it, with external data from its folder.
 *
 * @throws {FormatError} If it cannot be read, or is no ONNX model.
 */
export async function decodeOnnxFile(path: string): Promise<OpenModel> {
  return await readOnnx(
    path,
    (bytes, externalData) => openModel(bytes, externalData),
  );
}

/** Whether two files have the same bytes. */
async function isSameContent(a: string, b: string): Promise<boolean> {
  if ((await stat(a)).size !== (await stat(b)).size) return false;
  const other = createReadStream(b)[Symbol.asyncIterator]();
  let left: Uint8Array = new Uint8Array();
  for await (const chunk of createReadStream(a) as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length;) {
      if (left.length === 0) left = (await other.next()).value ?? left;
      const length = Math.min(left.length, chunk.length - at);
      if (length === 0) return false;
      for (let i = 0; i < length; i++) {
        if (left[i] !== chunk[at + i]) return false;
      }
      left = left.subarray(length);
      at += length;
    }
  }
  return true;
}

/**
 * What finds a model's external data.
 *
 * @throws {FormatError} If it is not in the model's folder, or no regular
 * file; when it is looked for.
 */
async function finderFor(model: string): Promise<ExternalFinder> {
  const find = await externalFinder(dirname(model));
  return (location) => {
    try {
      return find(location);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new FormatError(`${model}: ${error.message}`, { cause: error });
    }
  };
}

/**
 * The whole files of a model's external data, as onnxruntime takes them.
 *
 * @throws {FormatError} If one is not in the model's folder.
 */
export async function readExternal(
  model: string,
  locations: readonly string[],
): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  const find = await finderFor(model);
  for (const location of locations) {
    const path = find(location);
    if (path !== undefined) files.set(location, await readFile(path));
  }
  return files;
}

/** A file of external data that comes beside the written model. */
interface Copy {
  readonly from: string;
  /** Where there is no file yet; links followed. */
  readonly to: string;
}

/** A model that is to be written. */
export interface OnnxTarget {
  readonly output: string;
  readonly copies: readonly Copy[];
}

/**
 * Whether external data must be copied.
 *
 * @param folder The written model's folder, links followed.
 *
 * @throws {FormatError} If it would replace another file, or not be in the
 * model's folder.
 */
async function needsCopy({ from, to }: Copy, folder: string): Promise<boolean> {
  if (from === to) return false;
  if (!isBelow(to, folder, sep)) {
    throw new FormatError(
      `Cannot copy the external data "${from}": a link leads from the folder of the output to "${to}"; choose another folder`,
    );
  }
  let isFile: boolean;
  try {
    isFile = (await stat(to)).isFile();
  } catch (cause) {
    if ((cause as { code?: string }).code === "ENOENT") return true;
    throw writeError(to, cause as Error);
  }
  if (isFile && await isSameContent(from, to)) return false;
  throw new FormatError(
    `Cannot copy the external data "${from}": "${to}" is there already, with other content; choose another folder`,
  );
}

/**
 * Checks that a model can be written, and finds the external data that it
 * needs to take along if it goes to another folder than the one that it came
 * from.
 *
 * @param input The file that the model came from.
 * @param output The file to write.
 * @param locations Where it says that its external data is.
 *
 * @throws {UsageError} If the output would replace external data.
 * @throws {EvenkeelError} If something cannot be where it is to be, or
 * external data would replace another file.
 */
export async function planOnnx(
  input: string,
  output: string,
  locations: readonly string[],
): Promise<OnnxTarget> {
  const { path: target } = await checkTarget(output);
  const find = await finderFor(input);
  const folder = await followLinks(dirname(output));
  const copies = new Map<string, Copy>();
  for (const location of locations) {
    const from = find(location);
    const named = join(folder, ...checkLocation(location));
    const to = await followLinks(named).catch((cause) => {
      throw writeError(named, cause);
    });
    if (from === target || to === target) {
      throw new UsageError(
        `Cannot write to ${output}: it is where the model's external data is, "${location}"; choose another name`,
      );
    }
    if (from === undefined) continue;
    const other = copies.get(to)?.from ?? from;
    if (other !== from) {
      throw new FormatError(
        `Cannot copy the external data "${from}": a link leads it to "${to}", where "${other}" goes; choose another folder`,
      );
    }
    const copy = { from, to };
    if (await needsCopy(copy, folder)) copies.set(to, copy);
  }
  return { output, copies: [...copies.values()] };
}

/** The content of a file; that it cannot be read is not taken for the output's fault. */
async function* contentOf(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path) as AsyncIterable<Uint8Array>;
  } catch (cause) {
    throw new FormatError(
      `Cannot read "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Makes a file's folder; what is returned removes what was made. */
async function makeFolderOf(path: string): Promise<() => Promise<void>> {
  const folder = dirname(path);
  let first: string | undefined;
  try {
    first = await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw writeError(path, cause as Error);
  }
  return async () => {
    if (first === undefined) return;
    for (let made = folder; isBelow(made + sep, first, sep);) {
      // Of one that someone else put a file into, nothing is removed.
      await rmdir(made).catch(() => {});
      made = dirname(made);
    }
  };
}

/**
 * Writes a model, and copies its external data.
 *
 * @param target What {@linkcode planOnnx} gave.
 * @param pieces The model.
 *
 * @throws {EvenkeelError} If something cannot be written; then nothing is.
 */
export async function writePlanned(
  { output, copies }: OnnxTarget,
  pieces: readonly Uint8Array[],
): Promise<void> {
  const model = await stageFile(output, pieces);
  const undo = [model.discard];
  try {
    // Data first: a model is never there without it.
    for (const { from, to } of copies) {
      undo.push(await makeFolderOf(to));
      const copy = await stageFile(to, contentOf(from));
      undo.push(copy.discard);
      await copy.commit();
      undo.push(() => rm(to, { force: true }).catch(() => {}));
    }
    await model.commit();
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

/**
 * Plans and writes a model at once: {@linkcode planOnnx} and
 * {@linkcode writePlanned}.
 *
 * @throws {EvenkeelError} If something cannot be written; then nothing is.
 */
export async function writeOnnx(
  input: string,
  output: string,
  pieces: readonly Uint8Array[],
  locations: readonly string[],
): Promise<void> {
  await writePlanned(await planOnnx(input, output, locations), pieces);
}
