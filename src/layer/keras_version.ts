/**
 * The releases of Keras whose BatchNormalization differ in their numbers.
 *
 * @module
 */

import { OptionError } from "../errors.ts";

/**
 * Which Keras a layer follows, named by the first release of each behaviour.
 * The fused path is TensorFlow's operator: its moving variance is
 * Bessel-corrected, and its epsilon may have a floor.
 *
 * | value | releases | fused path | least epsilon there |
 * |---|---|---|---|
 * | `"2.4"` | up to TF 2.5 | rank 4, axis 1 or 3 | 1.001e-5 |
 * | `"2.6"` | TF 2.6 to 2.11 | also rank 5, axis 1 or 4 | 1.001e-5 |
 * | `"2.12"` | TF 2.12 to tf-keras 2.21 | as 2.6 | none |
 * | `"3"` | Keras 3 | none | none |
 *
 * That TensorFlow 2.12 dropped the floor is seen in runs of 2.12.1 and 2.21.0
 * against 2.4.4, and in `nn_impl.py` of the wheels from 2.4 to 2.12.
 */
export type KerasVersion = "2.4" | "2.6" | "2.12" | "3";

/** The values of {@linkcode KerasVersion}, oldest first. */
export const KERAS_VERSIONS: readonly KerasVersion[] = [
  "2.4",
  "2.6",
  "2.12",
  "3",
];

/**
 * Checks what a caller names.
 *
 * @param version What came.
 * @param action What cannot be done with another, as in "use".
 *
 * @throws {OptionError} If it is none of {@linkcode KERAS_VERSIONS}.
 */
export function checkKerasVersion(version: KerasVersion, action = "use"): void {
  if (KERAS_VERSIONS.includes(version)) return;
  throw new OptionError(
    `Cannot ${action} kerasVersion "${version}": expected ${
      KERAS_VERSIONS.map((known) => `"${known}"`).join(", ")
    }`,
  );
}

/**
 * The behaviour of a release, by the version string that files carry.
 *
 * @param release A version such as `"2.4.0"`, `"2.2.4-tf"` or `"3.15.1"`.
 * @returns The behaviour, or undefined for what is not a version.
 */
export function kerasVersionOf(release: string): KerasVersion | undefined {
  const match = /^(\d+)\.(\d+)/.exec(release);
  if (!match) return undefined;
  const major = Number(match[1]);
  const minor = Number(match[2]);
  if (major >= 3) return "3";
  if (major < 2 || minor < 6) return "2.4";
  return minor < 12 ? "2.6" : "2.12";
}
