/**
 * Which format a file has, by its content; names and extensions say nothing
 * (Keras 2.12 writes HDF5 into `x.keras`).
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Contents } from "../contents/contents.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import { Probe } from "../contents/probe.ts";
import type { OpenSource } from "../files/source.ts";
import type { SourceFile } from "../files/source_file.ts";
import { FORMATS } from "./formats.ts";

/** What a file that is none of ours seems to be. */
function describe(bytes: Uint8Array): string {
  const head = bytes.subarray(0, 16);
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 64));
  const hex = [...head].map((byte) => byte.toString(16).padStart(2, "0"));
  const looks = text.startsWith("version https://git-lfs")
    ? ", a Git LFS pointer: fetch the file itself"
    : /^\s*<(!doctype|html)/i.test(text)
    ? ", a web page"
    : /^\s*[{[]/.test(text)
    ? ", JSON"
    : "";
  return `bytes ${hex.join(" ")} (${
    JSON.stringify(text.slice(0, 16).replace(/[^\x20-\x7e]/g, "."))
  }${looks})`;
}

/** TensorFlow's shards, which mean nothing without their index. */
const SHARD = /\.data-\d{5}-of-\d{5}$/;

function unknown(name: string, head: Uint8Array): FormatError {
  if (SHARD.test(name)) {
    return new FormatError(
      `Cannot load a Keras model from ${name}: it is a shard of a checkpoint, expected its index, ${
        name.replace(SHARD, ".index")
      }`,
    );
  }
  return new FormatError(
    `Cannot load a Keras model from ${name}: expected ${
      [...new Set(FORMATS.map(({ what }) => what))].join(", ")
    }, found ${describe(head)}`,
  );
}

interface Known {
  readonly file: SourceFile;
  readonly format: FormatReader;
  readonly probe: Probe;
}

async function formatOf(file: SourceFile): Promise<Known | undefined> {
  const probe = await Probe.of(file);
  for (const format of FORMATS) {
    if (await format.detect(probe)) return { file, format, probe };
  }
  return undefined;
}

/** The files that others of the same model do not come with, such as their shards. */
function mainOnes(known: readonly Known[]): readonly Known[] {
  const most = Math.max(...known.map(({ format }) => format.rank));
  return known.filter(({ format }) => format.rank === most);
}

/**
 * Opens the file that is a Keras file.
 *
 * @param source One file, or several of which one is recognizable.
 * @returns What is in it; must be closed.
 *
 * @throws {FormatError} If none or several are Keras files, or it is damaged.
 */
export async function openContents(source: OpenSource): Promise<Contents> {
  const { files } = source;
  const [first] = files;
  if (!first) {
    throw new FormatError("Cannot load a Keras model: the map has no files");
  }
  const known: Known[] = [];
  for (const file of files) {
    const found = await formatOf(file);
    if (found) known.push(found);
  }
  const [only, ...others] = mainOnes(known);
  if (!only) {
    if (first.size === 0) {
      throw new FormatError(
        `Cannot load a Keras model from ${first.name}: it is empty`,
      );
    }
    throw unknown(first.name, (await Probe.of(first)).head);
  }
  if (others.length > 0) {
    const names = [only, ...others].map(({ file }) => file.name);
    throw new FormatError(
      `Cannot load a Keras model: expected one file, got ${names.length} (${
        names.join(", ")
      })`,
    );
  }
  const { file, format, probe } = only;
  return await format.open(file, source.folderOf(file), probe);
}
