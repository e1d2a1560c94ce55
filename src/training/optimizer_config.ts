/**
 * The configurations of optimizers in the JSON of each Keras.
 *
 * @module
 */

import type { JsonObject } from "../layer/keras_object.ts";
import type { KerasVersion } from "../layer/keras_version.ts";
import type { ClippingBounds } from "./clipping.ts";

/** What of an optimizer its configuration depends on. */
export interface ConfiguredOptimizer {
  readonly className: string;
  readonly kerasVersion: KerasVersion;
  readonly name: string | null;
  readonly learningRate: number;
  readonly decay: number;
  readonly weightDecay: number | null;
  readonly bounds: ClippingBounds;
  /** The arguments of the class itself. */
  readonly own: JsonObject;
}

/** The names that Keras 3 gives: its own rule would make `r_m_sprop`. */
const KERAS_3_NAMES: Readonly<Record<string, string>> = {
  SGD: "sgd",
  Adam: "adam",
  AdamW: "adam_w",
  RMSprop: "rm_sprop",
};

/** Those of TensorFlow 2.10 write only the bounds that are given. */
function legacyConfig(
  { className, name, learningRate, decay, bounds, own }: ConfiguredOptimizer,
): JsonObject {
  const { clipnorm, clipvalue, globalClipnorm } = bounds;
  return {
    name: name ?? className,
    ...(clipnorm === null ? {} : { clipnorm }),
    ...(clipvalue === null ? {} : { clipvalue }),
    ...(globalClipnorm === null ? {} : { global_clipnorm: globalClipnorm }),
    learning_rate: learningRate,
    decay: Math.fround(decay),
    ...own,
  };
}

/** The configuration of an optimizer as its Keras writes it. */
export function baseConfig(optimizer: ConfiguredOptimizer): JsonObject {
  const { className, kerasVersion, name, learningRate, own } = optimizer;
  const { clipnorm, clipvalue, globalClipnorm } = optimizer.bounds;
  const shared = {
    weight_decay: optimizer.weightDecay,
    clipnorm,
    global_clipnorm: globalClipnorm,
    clipvalue,
    use_ema: false,
    ema_momentum: 0.99,
  };
  if (kerasVersion === "3") {
    return {
      name: name ?? KERAS_3_NAMES[className] ?? className.toLowerCase(),
      learning_rate: learningRate,
      ...shared,
      ema_overwrite_frequency: null,
      loss_scale_factor: null,
      gradient_accumulation_steps: null,
      ...own,
    };
  }
  if (kerasVersion === "2.12") {
    return {
      name: name ?? className,
      ...shared,
      // The default of tf-keras' RMSprop alone, without effect here.
      ema_overwrite_frequency: className === "RMSprop" ? 100 : null,
      jit_compile: false,
      is_legacy_optimizer: false,
      learning_rate: learningRate,
      ...own,
    };
  }
  return legacyConfig(optimizer);
}
