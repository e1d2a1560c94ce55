/**
 * For tests: what real Keras makes of initializers, regularizers and
 * constraints, as `scripts/fixtures/keras_objects.py` recorded it.
 *
 * @module
 */

import type { KerasObject, SerializedObject } from "../keras_object.ts";
import type { KerasVersion } from "../keras_version.ts";

/** The three kinds of objects. */
export type FamilyName = "initializers" | "regularizers" | "constraints";

/** What an identifier becomes when it is saved. */
export interface ConfigRow {
  readonly identifier: string | KerasObject;
  readonly keras2?: KerasObject;
  readonly keras3: KerasObject;
}

/** Whether an identifier is refused. */
export interface FaultRow {
  readonly identifier: unknown;
  readonly fault: { readonly raises: string } | null;
}

/** What using an object on a shape gives, or the class of the exception. */
export interface UseRow {
  readonly identifier: string | KerasObject;
  readonly shape: readonly number[];
  readonly raises?: string;
  readonly values?: readonly number[];
  readonly distribution?: "uniform" | "normal" | "truncated_normal";
  readonly parameters?: readonly [number, number];
  readonly weights?: readonly (number | string)[];
  readonly loss?: number;
  readonly gradient?: readonly number[];
  readonly result?: readonly (number | string)[];
}

/** One line of Keras: tf-keras 2, or Keras 3. */
export interface Line {
  readonly configs: Readonly<Record<FamilyName, readonly ConfigRow[]>>;
  readonly faults: Readonly<Record<FamilyName, readonly FaultRow[]>>;
  readonly initializers: readonly UseRow[];
  readonly regularizers: readonly UseRow[];
  readonly constraints: readonly UseRow[];
  readonly custom: Readonly<
    Record<
      "class" | "function",
      Readonly<{ keras2?: SerializedObject; keras3: SerializedObject }>
    >
  >;
}

/** The whole file. */
export interface Fixture {
  readonly lines: Readonly<Record<"2" | "3", Line>>;
  readonly philox: readonly { state: string[]; words: number[] }[];
  readonly normalQuantiles: readonly [number, number][];
}

/** The recorded facts. */
export const FIXTURE: Fixture = JSON.parse(
  await Deno.readTextFile(
    new URL("../../../testdata/keras_objects.json", import.meta.url),
  ),
);

/** Both lines, with the version whose rules they follow. */
export const LINES: readonly [KerasVersion, Line][] = [
  ["2.4", FIXTURE.lines["2"]],
  ["3", FIXTURE.lines["3"]],
];

/** Recorded numbers; what JSON cannot hold is a string there. */
export function numbers(recorded: readonly (number | string)[]): number[] {
  const special: Record<string, number> = {
    inf: Infinity,
    "-inf": -Infinity,
    nan: NaN,
  };
  return recorded.map((v) => typeof v === "string" ? special[v]! : v);
}

/** The title of a test on one row. */
export function title(version: KerasVersion, row: UseRow): string {
  return `Keras ${version}, ${
    JSON.stringify(row.identifier)
  } on [${row.shape}]`;
}
