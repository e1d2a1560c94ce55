/**
 * The models in `testdata/keras_tfjs` and `testdata/keras_shards`.
 *
 * @module
 */

import { BytesFile, type SourceFile } from "../files/source_file.ts";
import type { RecordedCase, RecordedTensor } from "./fixtures.ts";

const TESTDATA = new URL("../../../testdata/", import.meta.url);

/** The files of a folder of test data by name, without those in folders in it. */
export function filesIn(folder: string): Map<string, Uint8Array<ArrayBuffer>> {
  const url = new URL(`${folder}/`, TESTDATA);
  return new Map(
    [...Deno.readDirSync(url)].filter(({ isFile }) => isFile)
      .map(({ name }) => [name, Deno.readFileSync(new URL(name, url))]),
  );
}

/** The files of a TensorFlow.js model. */
export function tfjsFiles(name: string): Map<string, Uint8Array<ArrayBuffer>> {
  return filesIn(`keras_tfjs/${name}`);
}

/** What a library computed with a model. */
export function expectedCase(folder: string, name: string): RecordedCase {
  const url = new URL(`${folder}/${name}.expected.json`, TESTDATA);
  return JSON.parse(Deno.readTextFileSync(url));
}

/** The vectors that TensorFlow.js reads from models, by model and weight. */
export function decodedVectors(): Record<
  string,
  Record<string, RecordedTensor>
> {
  const url = new URL("keras_tfjs/decoded.json", TESTDATA);
  return JSON.parse(Deno.readTextFileSync(url));
}

/** Opens files of a map, and notes what is read of them. */
export function recordingFiles(files: ReadonlyMap<string, Uint8Array>): {
  open(name: string): Promise<SourceFile | undefined>;
  /** What was opened, and every read: the file's name, offset and length. */
  readonly opened: string[];
  readonly reads: [name: string, offset: number, length: number][];
} {
  const opened: string[] = [];
  const reads: [string, number, number][] = [];
  return {
    opened,
    reads,
    open(name) {
      const bytes = files.get(name.replace(/^\.\//, ""));
      if (!bytes) return Promise.resolve(undefined);
      opened.push(name);
      const file = new BytesFile(name, bytes);
      return Promise.resolve({
        name,
        size: bytes.length,
        read(offset: number, length: number) {
          reads.push([name, offset, length]);
          return file.read(offset, length);
        },
      });
    },
  };
}

/** A model.json with some content, and its files. */
export function tfjsModel(
  model: unknown,
  files: Readonly<Record<string, Uint8Array>> = {},
): Map<string, Uint8Array> {
  const json = typeof model === "string" ? model : JSON.stringify(model);
  return new Map([
    ["model.json", new TextEncoder().encode(json)],
    ...Object.entries(files),
  ]);
}
