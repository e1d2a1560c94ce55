/**
 * Files that are parts of one sequence of bytes, as TensorFlow.js cuts its
 * weights into shards.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import {
  newBytes,
  relativeParts,
  type SourceFile,
} from "../files/source_file.ts";

/** Opens a file beside the one that names it; undefined if there is none. */
export type OpenBeside = (name: string) => Promise<SourceFile | undefined>;

/** A part of one of the files. */
export interface ShardPart {
  /** The file's name, as it was given. */
  readonly path: string;
  /** Where the part begins in the file. */
  readonly offset: number;
  readonly length: number;
}

/** Shards of one sequence of bytes; each is opened when it is needed. */
export class ShardList {
  readonly #paths: readonly string[];
  readonly #open: OpenBeside;
  readonly #opened = new Map<number, Promise<SourceFile>>();

  /**
   * Takes the names of shards.
   *
   * @param paths The shards in their order, relative to the file that names
   * them.
   * @param open Opens one.
   *
   * @throws {FormatError} If a name leaves the folder, or is there twice, with
   * which a small file could become any number of bytes.
   */
  constructor(paths: readonly string[], open: OpenBeside) {
    const seen = new Set<string>();
    for (const path of paths) {
      const name = relativeParts(path).join("/");
      if (seen.has(name)) {
        throw new FormatError(
          `Cannot read the weights: the file ${path} is listed twice`,
        );
      }
      seen.add(name);
    }
    this.#paths = paths;
    this.#open = open;
  }

  #shard(index: number): Promise<SourceFile> {
    const there = this.#opened.get(index);
    if (there) return there;
    const path = this.#paths[index]!;
    const opening = this.#open(path).then((file) => {
      if (file) return file;
      throw new FormatError(
        `Cannot read the weights: expected the file ${path} beside the model, found none of that name`,
      );
    });
    this.#opened.set(index, opening);
    return opening;
  }

  /** The bytes in all shards. */
  async size(): Promise<number> {
    let size = 0;
    for (const index of this.#paths.keys()) {
      size += (await this.#shard(index)).size;
    }
    return size;
  }

  /**
   * The parts of files that a range of bytes is made of. Opens the shards up
   * to its end, which tells their sizes, and reads nothing.
   *
   * @throws {FormatError} If the shards end before, or one is missing.
   */
  async parts(offset: number, length: number): Promise<ShardPart[]> {
    const parts: ShardPart[] = [];
    const end = offset + length;
    let start = 0;
    for (const [index, path] of this.#paths.entries()) {
      if (start >= end) break;
      const { size } = await this.#shard(index);
      const from = Math.max(offset, start);
      const to = Math.min(end, start + size);
      if (from < to) {
        parts.push({ path, offset: from - start, length: to - from });
      }
      start += size;
    }
    if (start < end) {
      throw new FormatError(
        `Cannot read the weights: expected ${end} bytes or more in ${
          this.#paths.slice(0, 3).join(", ") || "no file"
        }${
          this.#paths.length > 3 ? `, ... (${this.#paths.length} files)` : ""
        }, found ${start}; a file is truncated, or not the one that belongs to the model`,
      );
    }
    return parts;
  }

  /**
   * Reads a range of bytes.
   *
   * @returns A copy.
   *
   * @throws {FormatError} As for {@linkcode parts}; then nothing is allocated.
   */
  async read(
    offset: number,
    length: number,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const parts = await this.parts(offset, length);
    const bytes = newBytes("the weights", length);
    let at = 0;
    for (const { path, offset, length } of parts) {
      const shard = await this.#shard(this.#paths.indexOf(path));
      bytes.set(await shard.read(offset, length), at);
      at += length;
    }
    return bytes;
  }
}
