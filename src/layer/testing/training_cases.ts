/**
 * The cases of `testdata/training/*_layer.json`: training steps of real Keras.
 *
 * @module
 */

import type { KerasConfig } from "../config.ts";
import { kerasVersionOf } from "../keras_version.ts";
import type { KerasVersion } from "../keras_version.ts";
import type { EncodedTensor } from "./keras_cases.ts";

/** One call and the gradients after it. */
export interface TrainingStep {
  readonly training: boolean;
  readonly trainable: boolean;
  readonly x: EncodedTensor;
  readonly mask?: EncodedTensor;
  readonly error?: string;
  readonly dy?: EncodedTensor;
  readonly y?: EncodedTensor;
  readonly dx?: EncodedTensor;
  readonly dgamma?: EncodedTensor;
  readonly dbeta?: EncodedTensor;
  readonly losses?: number;
  readonly weightsAfter: Readonly<Record<string, EncodedTensor>>;
}

/** One layer and its steps, one after the other. */
export interface TrainingCase {
  readonly name: string;
  readonly class: string;
  readonly options: KerasConfig;
  readonly inputShape: readonly (number | null)[];
  readonly error?: string;
  readonly fused: boolean | null;
  readonly adjustment: null | {
    readonly scale: EncodedTensor;
    readonly bias: EncodedTensor;
  };
  readonly initialWeights: Readonly<Record<string, EncodedTensor>>;
  readonly steps: readonly TrainingStep[];
}

/** The cases of one line of Keras. */
export interface TrainingLine {
  readonly name: string;
  readonly kerasVersion: KerasVersion;
  readonly cases: readonly TrainingCase[];
}

interface StoredLine {
  readonly kerasVersion: string;
  readonly sameAsTfk?: readonly string[];
  readonly cases: readonly TrainingCase[];
}

function read(line: string): StoredLine {
  return JSON.parse(
    Deno.readTextFileSync(
      new URL(
        `../../../testdata/training/${line}_layer.json`,
        import.meta.url,
      ),
    ),
  );
}

/** All lines; cases that are stored with tf-keras only are in each. */
export function trainingLines(): TrainingLine[] {
  const shared = new Map(read("tfk").cases.map((each) => [each.name, each]));
  return ["k24", "k212", "tfk", "k3"].map((name) => {
    const { kerasVersion, sameAsTfk = [], cases } = read(name);
    return {
      name,
      kerasVersion: kerasVersionOf(kerasVersion)!,
      cases: [...cases, ...sameAsTfk.map((each) => shared.get(each)!)],
    };
  });
}
