/**
 * For tests: what real Keras computed while it trained, from
 * `testdata/training/`.
 *
 * @module
 */

import { decodeTensor } from "../../layer/testing/keras_cases.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { JsonObject, KerasObject } from "../../layer/keras_object.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";
import type { ElementType, Tensor } from "../../tensor.ts";

/** A tensor in the fixtures. */
export type Encoded = Parameters<typeof decodeTensor>[0];

/** The two variables of a case. */
export type PerVariable<T> = Readonly<Record<"gamma" | "beta", T>>;

/** What an optimizer did to given gradients. */
export interface OptimizerCase {
  readonly name: string;
  readonly class: string;
  readonly arguments: JsonObject;
  readonly dtype: ElementType;
  readonly constraint: KerasObject | null;
  readonly config?: JsonObject;
  readonly values: PerVariable<Encoded>;
  readonly slots: PerVariable<Readonly<Record<string, Encoded>>>;
}

/** One whole step of a layer. */
export interface FitStep {
  readonly x: Encoded;
  readonly target: Encoded;
  readonly y: Encoded;
  readonly error: number;
  readonly loss: number;
  readonly dgamma: Encoded;
  readonly dbeta: Encoded;
  readonly weightsAfter: Readonly<Record<string, Encoded>>;
}

/** Whole steps of one layer, with regularizers and constraints. */
export interface FitCase {
  readonly name: string;
  readonly options: KerasConfig;
  readonly inputShape: readonly (number | null)[];
  readonly fused: boolean | null;
  readonly optimizer: {
    readonly class: string;
    readonly arguments: JsonObject;
  };
  readonly initialWeights: Readonly<Record<string, Encoded>>;
  readonly steps: readonly FitStep[];
}

/** One replica's part of a step. */
export interface Replica {
  readonly x: Encoded;
  readonly mask?: Encoded;
}

/** One step on two replicas. */
export interface ReplicaCase {
  readonly name: string;
  readonly class: string;
  readonly options: KerasConfig;
  readonly inputShape: readonly (number | null)[];
  readonly initialWeights: Readonly<Record<string, Encoded>>;
  readonly replicas: readonly Replica[];
  readonly weightsAfter: Readonly<Record<string, Encoded>>;
}

/** A line of Keras releases and what its cases follow. */
export const LINES: Readonly<Record<string, KerasVersion>> = {
  k24: "2.4",
  k212: "2.12",
  tfk: "2.12",
  k3: "3",
};

interface Document<Case> {
  readonly lines: Readonly<
    Record<
      string,
      { readonly cases: readonly Case[]; readonly sameAsTfk?: string[] }
    >
  >;
}

async function read<T>(file: string): Promise<T> {
  const url = new URL(`../../../testdata/training/${file}`, import.meta.url);
  return JSON.parse(await Deno.readTextFile(url));
}

/** All cases of a file by line, with those that a line shares with tf-keras. */
function merged<Case extends { readonly name: string }>(
  { lines }: Document<Case>,
): [string, KerasVersion, Case][] {
  const tfk = lines.tfk!.cases;
  return Object.entries(lines).flatMap(([line, { cases, sameAsTfk = [] }]) => {
    const shared = sameAsTfk.map((name) => {
      const found = tfk.find((entry) => entry.name === name);
      if (!found) throw new Error(`${line} has no case ${name} to share`);
      return found;
    });
    return [...cases, ...shared].map((entry) =>
      [line, LINES[line]!, entry] as [string, KerasVersion, Case]
    );
  });
}

const optimizers = await read<
  Document<OptimizerCase> & {
    readonly initial: PerVariable<number[]>;
    readonly gradients: PerVariable<number[][]>;
  }
>("optimizers.json");

/** The values that every optimizer starts from. */
export const INITIAL: PerVariable<number[]> = optimizers.initial;
/** The gradients of every step. */
export const GRADIENTS: PerVariable<number[][]> = optimizers.gradients;
/** All optimizers of all lines. */
export const OPTIMIZER_CASES: [string, KerasVersion, OptimizerCase][] = merged(
  optimizers,
);
/** All whole steps of all lines. */
export const FIT_CASES: [string, KerasVersion, FitCase][] = merged(
  await read<Document<FitCase>>("fit.json"),
);
/** All steps on two replicas of all lines. */
export const REPLICA_CASES: [string, KerasVersion, ReplicaCase][] = merged(
  await read<Document<ReplicaCase>>("replicas.json"),
);

/** A tensor of the fixtures. */
export function decode(encoded: Encoded): Tensor {
  return decodeTensor(encoded);
}
