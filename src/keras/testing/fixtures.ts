/**
 * The recorded cases in `testdata/keras`: files that real Keras wrote, and
 * what it computed with them.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { ElementType, Tensor } from "../../tensor.ts";
import { fromLittleEndian, rawType } from "../files/raw_tensor.ts";

/** A tensor as the cases hold it. */
export interface RecordedTensor {
  readonly dtype: ElementType;
  readonly shape: number[];
  /** Little-endian bytes in base64. */
  readonly data: string;
}

/** One BatchNormalization layer of a case. */
export interface RecordedLayer {
  readonly name: string;
  readonly path: string[];
  readonly config: KerasConfig;
  readonly className: string;
  readonly inputShape: (number | null)[];
  readonly axis: number[];
  readonly usedEpsilon: number;
  /** Whether TensorFlow's fused operator ran; null where there is none. */
  readonly fused: boolean | null;
  readonly weights: Record<string, RecordedTensor>;
  readonly input: RecordedTensor;
  readonly output: RecordedTensor;
}

/** One case. */
export interface RecordedCase {
  readonly case: string;
  readonly file: string;
  readonly format: string;
  readonly kerasVersion: string | null;
  /** For weights only: the file with the whole model. */
  readonly weightsOf?: string;
  /** For checkpoints: the files, and the model's configuration where it has one. */
  readonly files?: readonly string[];
  readonly model?: KerasConfig | null;
  readonly layers: RecordedLayer[];
}

const TESTDATA = new URL("../../../testdata/", import.meta.url);

/** The URL of a file of a case. */
export function fixtureUrl(file: string, folder = "keras"): URL {
  return new URL(`${folder}/${file}`, TESTDATA);
}

/** The bytes of a file of a case. */
export function fixtureBytes(file: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(fixtureUrl(file));
}

/** All cases of a folder of `testdata/`, by name. */
export function recordedCases(folder = "keras"): RecordedCase[] {
  return [...Deno.readDirSync(fixtureUrl("", folder))].map(({ name }) => name)
    .filter((name) => name.endsWith(".json")).sort()
    .map((name) => JSON.parse(Deno.readTextFileSync(fixtureUrl(name, folder))));
}

/** The tensor that a case holds. */
export function recordedTensor({ dtype, shape, data }: RecordedTensor): Tensor {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  return {
    type: dtype,
    dims: shape,
    data: fromLittleEndian(rawType(dtype)!, bytes),
  };
}
