/**
 * ONNX files of a sub-command, with the files that hold their external data.
 *
 * @module
 */

import { createReadStream } from "node:fs";
import { mkdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { EvenkeelError, FormatError } from "../errors.ts";
import { checkLocation } from "../onnx/external_data.ts";
import { externalFiles } from "../onnx/external_files.ts";
import { type OnnxModel, openOnnx } from "../onnx/onnx_model.ts";
import { UsageError } from "./command.ts";
import { isSameFile, writeWhole } from "./files.ts";

/** The output of a sub-command that writes a model. */
export function outputOf(command: string, output: unknown): string {
  if (typeof output === "string") return output;
  throw new UsageError(
    `Expected -o OUT.onnx; see evenkeel ${command} --help`,
  );
}

/**
 * Opens an ONNX file, with external data from its folder.
 *
 * @throws {FormatError} If it cannot be read, or is no ONNX model.
 */
export async function openOnnxFile(
  path: string,
): Promise<{ readonly model: OnnxModel; readonly bytes: Uint8Array }> {
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
    const externalData = await externalFiles(dirname(path));
    return { model: openOnnx(bytes, { externalData }), bytes };
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(
      `${path} is no ONNX model, or damaged: ${error.message}`,
      { cause: error },
    );
  }
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

/** Whether a file is in a folder or below, links followed. */
async function isInside(path: string, folder: string): Promise<boolean> {
  const root = await realpath(folder);
  return (await realpath(path)).startsWith(
    root.endsWith(sep) ? root : root + sep,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

/** Brings a file of external data beside the written model. */
async function copyExternal(from: string, to: string): Promise<void> {
  if (await isSameFile(from, to)) return;
  if (await exists(to)) {
    if (await isSameContent(from, to)) return;
    throw new FormatError(
      `Cannot copy the external data "${from}": "${to}" is there already, with other content; choose another folder`,
    );
  }
  await mkdir(dirname(to), { recursive: true });
  await writeWhole(to, createReadStream(from) as AsyncIterable<Uint8Array>);
}

/**
 * The path of a file of external data; undefined if there is none.
 *
 * @throws {FormatError} If it is not in the model's folder.
 */
async function locate(
  model: string,
  location: string,
): Promise<string | undefined> {
  let parts: string[];
  try {
    parts = checkLocation(location);
  } catch (error) {
    if (!(error instanceof EvenkeelError)) throw error;
    throw new FormatError(`${model}: ${error.message}`, { cause: error });
  }
  const path = join(dirname(model), ...parts);
  if (!await exists(path)) return undefined;
  if (await isInside(path, dirname(model))) return path;
  throw new FormatError(
    `${model}: its external data is in "${location}", a link that leads out of the model's folder`,
  );
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
  for (const location of locations) {
    const path = await locate(model, location);
    if (path !== undefined) files.set(location, await readFile(path));
  }
  return files;
}

/**
 * Writes a model, and copies the external data that it needs if it goes to
 * another folder than the one it came from. Data first: a model is never
 * there without it.
 *
 * @param input The file that the model came from.
 * @param output The file to write.
 * @param pieces The model.
 * @param locations Where it says that its external data is.
 *
 * @throws {EvenkeelError} If something cannot be written, or external data
 * would replace another file.
 */
export async function writeOnnx(
  input: string,
  output: string,
  pieces: readonly Uint8Array[],
  locations: readonly string[],
): Promise<void> {
  for (const location of locations) {
    const from = await locate(input, location);
    if (from !== undefined) {
      await copyExternal(from, join(dirname(output), location));
    }
  }
  await writeWhole(output, pieces);
}
