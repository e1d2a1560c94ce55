/**
 * A layer's variables as values of a training graph.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { type WeightName, weightNames } from "../../layer/weights.ts";
import type { Tensor } from "../../tensor.ts";

/** A variable of the layer. */
export interface GraphVariable {
  /** Keras' name. */
  readonly weight: WeightName;
  /** The name of its initializer or input: `bn/input_mean` and so on. */
  readonly name: string;
  /** The name of the output with its new value, if training moves it. */
  readonly output: string | undefined;
  /** Its present value. */
  readonly value: Tensor;
}

/** The names after the layer's: those of ONNX where it has one. */
const INPUTS: Readonly<Record<WeightName, string>> = {
  gamma: "scale",
  beta: "B",
  moving_mean: "input_mean",
  moving_variance: "input_var",
  moving_stddev: "moving_stddev",
  renorm_mean: "renorm_mean",
  renorm_stddev: "renorm_stddev",
};

/** The names of the graph's outputs. */
const OUTPUTS: Readonly<Partial<Record<WeightName, string>>> = {
  moving_mean: "running_mean",
  moving_variance: "running_var",
  moving_stddev: "moving_stddev",
  renorm_mean: "renorm_mean",
  renorm_stddev: "renorm_stddev",
};

/** Every name of a training graph that a caller cannot choose. */
export function trainingNames(): string[] {
  return [
    ...Object.values(OUTPUTS),
    "mask",
    "adjustment_scale",
    "adjustment_bias",
  ];
}

/** The variables of a built layer, in Keras' order. */
export function graphVariables(
  layer: BatchNormalization,
): readonly GraphVariable[] {
  // Frozen layers too have gamma and beta first.
  const weights = layer.weights;
  return weightNames(layer.options).map((weight, i) => ({
    weight,
    name: `${layer.name}/${INPUTS[weight]}`,
    output: OUTPUTS[weight],
    value: weights[i]!,
  }));
}
