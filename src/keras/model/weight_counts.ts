/**
 * How many arrays each layer of a configuration has in a model's
 * `get_weights()`, to find the layers in a list without names.
 *
 * All releases list layer by layer, in the configuration's order, and a
 * nested model's layers in its place.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import { type WeightFlags, weightNames } from "../../layer/weights.ts";
import { type ConfigLayer, isBatchNormalization } from "./config.ts";

/** A layer with arrays of its own. */
export interface PlacedLayer {
  readonly layer: ConfigLayer;
  /** How many arrays it has. */
  readonly count: number;
  /** Which ones, for a BatchNormalization. */
  readonly flags?: WeightFlags;
}

function isOn(config: KerasConfig, key: string, fallback = true): boolean {
  const value = config[key];
  return value === undefined ? fallback : Boolean(value);
}

function countOn(config: KerasConfig, ...keys: string[]): number {
  return keys.filter((key) => isOn(config, key)).length;
}

/** Layers with one kernel, or so many, and a bias that can be left out. */
const KERNELS: Readonly<Record<string, number>> = {
  Dense: 1,
  Conv1D: 1,
  Conv2D: 1,
  Conv3D: 1,
  Conv1DTranspose: 1,
  Conv2DTranspose: 1,
  Conv3DTranspose: 1,
  Convolution1D: 1,
  Convolution2D: 1,
  Convolution3D: 1,
  LocallyConnected1D: 1,
  LocallyConnected2D: 1,
  DepthwiseConv1D: 1,
  DepthwiseConv2D: 1,
  SeparableConv1D: 2,
  SeparableConv2D: 2,
  SeparableConvolution1D: 2,
  SeparableConvolution2D: 2,
  SimpleRNN: 2,
  LSTM: 2,
  GRU: 2,
};

/** What a bias is called, where it is not `use_bias`: in Keras 1. */
function hasBias(config: KerasConfig): boolean {
  return isOn(config, "use_bias", isOn(config, "bias"));
}

/** Layers without a weight. */
const WITHOUT = new Set([
  "Activation",
  "ActivityRegularization",
  "Add",
  "AlphaDropout",
  "Average",
  "Concatenate",
  "Dot",
  "Dropout",
  "ELU",
  "Flatten",
  "GaussianDropout",
  "GaussianNoise",
  "Identity",
  "InputLayer",
  "LeakyReLU",
  "Masking",
  "Maximum",
  "Merge",
  "Minimum",
  "Multiply",
  "Permute",
  "ReLU",
  "RepeatVector",
  "Reshape",
  "Rescaling",
  "Softmax",
  "SpatialDropout1D",
  "SpatialDropout2D",
  "SpatialDropout3D",
  "Subtract",
  "ThresholdedReLU",
  "UnitNormalization",
]);

/** Names of families without a weight: `GlobalAveragePooling2D`, `UpSampling1D`. */
const WITHOUT_FAMILY =
  /^(Global)?(Average|Max)(Pooling|Pool)[123]D$|^(UpSampling|ZeroPadding|Cropping)[123]D$/;

/** Models, of which each layer has its own place. */
const CONTAINERS = new Set(["Sequential", "Functional", "Model"]);

function flagsOf(config: KerasConfig): WeightFlags {
  return {
    scale: isOn(config, "scale"),
    center: isOn(config, "center"),
    renorm: isOn(config, "renorm", false),
  };
}

/** The arrays of a layer that has no layers inside; undefined if that is not known. */
function ownCount({ className, config }: ConfigLayer): number | undefined {
  if (WITHOUT.has(className) || WITHOUT_FAMILY.test(className)) return 0;
  if (Object.hasOwn(KERNELS, className)) {
    return KERNELS[className]! + Number(hasBias(config));
  }
  switch (className) {
    case "Embedding":
    case "PReLU":
      return 1;
    case "EinsumDense":
      return config.bias_axes == null ? 1 : 2;
    case "LayerNormalization":
      return isOn(config, "rms_scaling", false)
        ? 1
        : countOn(config, "scale", "center");
    case "GroupNormalization":
      return countOn(config, "scale", "center");
    default:
      return undefined;
  }
}

function* placesOf(layer: ConfigLayer): Generator<PlacedLayer> {
  if (isBatchNormalization(layer)) {
    const flags = flagsOf(layer.config);
    yield { layer, count: weightNames(flags).length, flags };
    return;
  }
  if (CONTAINERS.has(layer.className)) {
    for (const child of layer.children) yield* placesOf(child);
    return;
  }
  // Around one layer, with nothing of its own.
  const [only, ...others] = layer.children;
  if (layer.className === "TimeDistributed" && only && others.length === 0) {
    yield* placesOf(only);
    return;
  }
  const count = ownCount(layer);
  if (count === undefined) {
    throw new UnsupportedError(
      `Cannot find the layers in a list of arrays: it is not known how many of them the layer "${
        layer.path.join("/")
      }" of class ${layer.className} has; save the arrays with names, or name the BatchNormalization layers in the option layers without giving a configuration`,
    );
  }
  yield { layer, count };
}

/**
 * The layers of a configuration with the number of their arrays, in the order
 * of `get_weights()`.
 *
 * @throws {UnsupportedError} If there is a layer of which it is not known how
 * many arrays it has, such as a custom one.
 */
export function layersInOrder(layers: readonly ConfigLayer[]): PlacedLayer[] {
  return layers.flatMap((layer) => [...placesOf(layer)]);
}
