/**
 * The files in `testdata/keras_arrays`, which NumPy, safetensors and Python's
 * json wrote, and the variables in them.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { type RecordedTensor, recordedTensor } from "./fixtures.ts";

const FOLDER = new URL("../../../testdata/keras_arrays/", import.meta.url);

/** The URL of a file. */
export function arraysUrl(file: string): URL {
  return new URL(file, FOLDER);
}

/** The bytes of a file. */
export function arraysBytes(file: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(arraysUrl(file));
}

type Recorded = Record<string, Record<string, Record<string, RecordedTensor>>>;

/** The variables of each layer of each file, in Keras' order. */
export function expectedArrays(): Map<string, Map<string, Tensor[]>> {
  const { files }: { files: Recorded } = JSON.parse(
    Deno.readTextFileSync(arraysUrl("expected.json")),
  );
  return new Map(
    Object.entries(files).map(([file, layers]) => [
      file,
      new Map(
        Object.entries(layers).map(([layer, weights]) => [
          layer,
          Object.values(weights).map(recordedTensor),
        ]),
      ),
    ]),
  );
}
