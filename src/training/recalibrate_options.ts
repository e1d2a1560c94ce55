/**
 * What `recalibrate` takes and gives.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { checkKnown } from "../known_options.ts";
import type { ExternalDataSource } from "../onnx/external_data.ts";
import type { Tensor } from "../tensor.ts";
import type { Feed, OnnxRunner } from "./onnx_runner.ts";

/** One batch: a tensor for a model with one input, or tensors by input. */
export type Batch = Tensor | Readonly<Record<string, Feed>>;

/** Batches; gone through more than once if the mode or a metric needs it. */
export type Batches = Iterable<Batch> | AsyncIterable<Batch>;

/**
 * How the statistics are measured:
 *
 * | | the layers before a node normalize with |
 * |---|---|
 * | `"precise"` | the batch's statistics, as in training: torch's `update_bn`, precise BN |
 * | `"sequential"` | their new statistics: layer by layer, AdaBN |
 * | `"blend"` | the batch's; the result is mixed with the old statistics |
 */
export type RecalibrateMode = "precise" | "sequential" | "blend";

/** How far `recalibrate` is. */
export interface RecalibrateProgress {
  /** What is done: `"measure"`, or the metric `"before"` or `"after"`. */
  readonly stage: "measure" | "before" | "after";
  /** The node that is measured, in mode `"sequential"`. */
  readonly name?: string;
  /** Passes over the data that are complete in this stage. */
  readonly pass: number;
  /** Passes that this stage takes. */
  readonly passes: number;
  /** Batches of this pass that are done. */
  readonly batches: number;
}

/** The options of `recalibrate`. */
export interface RecalibrateOptions {
  /** How the statistics are measured; default `"precise"`. */
  readonly mode?: RecalibrateMode;
  /**
   * In mode `"blend"`, the weight of the old mean and variance, 0 to 1:
   * `new = weight * old + (1 - weight) * measured`; default 0.5.
   */
  readonly weight?: number;
  /** The names of the nodes to recalibrate; by default all that can be. */
  readonly only?: readonly string[];
  /**
   * Whether to write the unbiased variance, `M2 / (count - 1)`, as torch and
   * Keras 2's fused layers do; false by default, for `M2 / count`.
   */
  readonly unbiased?: boolean;
  /**
   * A number that tells how good the model is on a batch; its mean over all
   * batches, weighted by their size, is reported before and after.
   */
  readonly metric?: (
    outputs: Readonly<Record<string, Tensor>>,
    batch: Batch,
  ) => number | Promise<number>;
  /** Is told of every batch. */
  readonly onProgress?: (progress: RecalibrateProgress) => void;
  /** The files that hold elements outside of the model. */
  readonly externalData?: ExternalDataSource;
  /**
   * Loads a model to run it; by default into onnxruntime-web, which is
   * imported on the first call.
   */
  readonly load?: (model: Uint8Array) => Promise<OnnxRunner>;
}

/** What became of a node's statistics. */
export interface LayerShift {
  /** The node's name. */
  readonly name: string;
  /** Its channels. */
  readonly channels: number;
  /** Elements of each channel behind the new statistics. */
  readonly count: number;
  /**
   * How far the mean moved, in old standard deviations: the root mean square
   * over the channels, and the largest.
   */
  readonly meanShift: { readonly rms: number; readonly max: number };
  /**
   * New variance by old: the geometric mean over the channels, the least and
   * the largest; epsilon is added to both, so that a dead channel counts 1.
   */
  readonly varianceRatio: {
    readonly mean: number;
    readonly min: number;
    readonly max: number;
  };
}

/** What `recalibrate` did. */
export interface RecalibrateReport {
  /** How the statistics were measured. */
  readonly mode: RecalibrateMode;
  /** Batches in the data. */
  readonly batches: number;
  /** Samples in the data: the sum of the batches' first extents. */
  readonly samples: number;
  /** What became of each node's statistics. */
  readonly layers: readonly LayerShift[];
  /** Nodes that keep their statistics, with the reason. */
  readonly kept: readonly { readonly name: string; readonly reason: string }[];
  /** The metric, if one was given. */
  readonly metric?: { readonly before: number; readonly after: number };
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof RecalibrateOptions, true>> = {
  mode: true,
  weight: true,
  only: true,
  unbiased: true,
  metric: true,
  onProgress: true,
  externalData: true,
  load: true,
};

const MODES: readonly RecalibrateMode[] = ["precise", "sequential", "blend"];

/**
 * Checks the options before anything runs.
 *
 * @throws {OptionError} If one is unknown or has a value that it cannot have.
 */
export function checkRecalibrateOptions(options: RecalibrateOptions): void {
  checkKnown("recalibrate", options, KNOWN);
  for (const key of ["metric", "onProgress", "load"] as const) {
    if (options[key] === undefined || typeof options[key] === "function") {
      continue;
    }
    throw new OptionError(
      `Cannot use the option ${key} of recalibrate: expected a function`,
    );
  }
  const { mode = "precise", weight } = options;
  if (!MODES.includes(mode)) {
    throw new OptionError(
      `Cannot use mode ${JSON.stringify(mode)} of recalibrate: expected ${
        MODES.map((each) => `"${each}"`).join(", ")
      }`,
    );
  }
  if (weight === undefined) return;
  if (mode !== "blend") {
    throw new OptionError(
      `Cannot use weight ${weight} in mode "${mode}" of recalibrate: expected mode "blend"`,
    );
  }
  if (!(weight >= 0 && weight <= 1)) {
    throw new OptionError(
      `Cannot use weight ${weight} of recalibrate: expected a number from 0 to 1`,
    );
  }
}
