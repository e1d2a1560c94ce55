/**
 * What the layer's methods take and give.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { KernelChoice } from "../kernels/dispatch.ts";
import type { Tensor } from "../tensor.ts";
import type { GradientSums } from "./backward.ts";
import type { ChannelMoments } from "./channel_moments.ts";
import type { KerasVersion } from "./keras_version.ts";

/** How {@linkcode BatchNormalization.call} runs. */
export interface CallOptions {
  /** Whether to use, and learn from, the batch's statistics; default false. */
  readonly training?: boolean;
  /**
   * Keras' mask, of the input's shape without the last dimension, or with 1
   * for any of its extents: positions that are 0 do not count for the batch's
   * statistics. Used by TF 2.12 and later (but on the fused path) and Keras 3.
   */
  readonly mask?: Tensor | Uint8Array;
  /** Merged moments of all replicas, in the place of the batch's own. */
  readonly moments?: ChannelMoments;
  /** Where the output goes; may be the input itself. */
  readonly out?: Tensor;
}

/** How {@linkcode BatchNormalization.backward} runs. */
export interface BackwardOptions {
  /** The added sums of all replicas, in the place of the batch's own. */
  readonly sums?: GradientSums;
  /**
   * Where the gradient by the input goes: a tensor of the type that the layer
   * computes in, which shares no memory with the input or `dy`.
   */
  readonly out?: Tensor;
}

/** The gradients of a call. */
export interface Gradients {
  /** By the input. */
  readonly dx: Tensor;
  /** By gamma; missing without `scale`. */
  readonly dgamma?: Tensor;
  /** By beta; missing without `center`. */
  readonly dbeta?: Tensor;
}

/** How {@linkcode BatchNormalization.fromConfig} reads. */
export interface FromConfigOptions {
  /** The release that wrote the configuration; by default its spelling tells. */
  readonly kerasVersion?: KerasVersion;
  /** Which kernels the layer runs on. */
  readonly kernels?: KernelChoice | undefined;
  /**
   * Keep initializers, regularizers and constraints of unknown classes as
   * they are, and fail only when one is used; default false, as in Keras.
   */
  readonly lenient?: boolean;
}

// A Record, so that the compiler notices an option that is missing here.
const CALL_OPTIONS: Readonly<Record<keyof CallOptions, true>> = {
  training: true,
  mask: true,
  moments: true,
  out: true,
};

/**
 * Checks that a call has no option that there is not: a misspelt `training`
 * would run inference without a word.
 *
 * @throws {OptionError} If it has one.
 */
export function checkCallOptions(options: CallOptions, layer: string): void {
  for (const key in options) {
    // What an object inherits is not `true`; `hasOwn` takes twice as long.
    if (CALL_OPTIONS[key as keyof CallOptions] !== true) {
      throw new OptionError(
        `Cannot call layer "${layer}" with the option "${key}": expected ${
          Object.keys(CALL_OPTIONS).join(", ")
        }`,
      );
    }
  }
}
