/**
 * The ranks of layers' inputs, as far as a model's configuration makes them
 * certain: from its inputs on, through Keras' own layers whose output's rank
 * follows from their input's.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import { CLASS_NAMES } from "../../layer/config.ts";
import { type ConfigLayer, configLayers } from "./config.ts";
import { type LayerCall, layerCalls } from "./layer_calls.ts";

/** A layer's output rank; undefined where it is not certain. */
type RankRule = (config: KerasConfig, input: number) => number | undefined;

const same: RankRule = (_config, input) => input;

function listLength(value: unknown): number | undefined {
  return Array.isArray(value) ? value.length : undefined;
}

/** The sample's shape of `Reshape` and the dimensions of `Permute` are without the batch. */
function withBatch(key: string): RankRule {
  return (config) => {
    const length = listLength(config[key]);
    return length === undefined ? undefined : length + 1;
  };
}

const globalPooling: RankRule = ({ keepdims }, input) => keepdims ? input : 2;

const recurrent: RankRule = ({ return_sequences, return_state }) =>
  return_state ? undefined : return_sequences ? 3 : 2;

/** Names such as `Conv1D`, `Conv2D`, `Conv3D`. */
function perDimension(stem: string, counts: readonly number[]): string[] {
  return counts.map((count) => `${stem}${count}D`);
}

const ALL = [1, 2, 3];

/** Layers with one input, of whose rank their output is. */
const sameRank = (): string[] => [
  ...CLASS_NAMES,
  ...["LayerNormalization", "GroupNormalization", "UnitNormalization"],
  ...["Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "ThresholdedReLU"],
  ...["Softmax", "Dropout", "AlphaDropout", "GaussianDropout"],
  ...["GaussianNoise", "ActivityRegularization", "Masking", "Rescaling"],
  ...["Identity", "Dense"],
  ...perDimension("SpatialDropout", ALL),
  ...perDimension("Conv", ALL),
  ...perDimension("SeparableConv", [1, 2]),
  ...perDimension("DepthwiseConv", [1, 2]),
  ...perDimension("Conv", ALL).map((name) => `${name}Transpose`),
  // Keras 1.
  ...perDimension("Convolution", ALL),
  ...perDimension("LocallyConnected", [1, 2]),
  ...perDimension("MaxPooling", ALL),
  ...perDimension("AveragePooling", ALL),
  ...perDimension("ZeroPadding", ALL),
  ...perDimension("Cropping", ALL),
  ...perDimension("UpSampling", ALL),
];

// Marked pure, so that bundlers leave it out where nothing is loaded.
const RULES: ReadonlyMap<string, RankRule> =
  /* @__PURE__ */ (() =>
    new Map<string, RankRule>([
      ...sameRank().map((name) => [name, same] as const),
      ["Flatten", () => 2],
      ["Reshape", withBatch("target_shape")],
      ["Permute", withBatch("dims")],
      ["RepeatVector", () => 3],
      ["Embedding", (_config, input) => input + 1],
      ...ALL.flatMap((count) =>
        [`GlobalMaxPooling${count}D`, `GlobalAveragePooling${count}D`]
          .map((name) => [name, globalPooling] as const)
      ),
      ...["SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU"]
        .map((name) => [name, recurrent] as const),
    ]))();

/** Layers of several inputs, which have their output's rank if they have the same. */
const MERGES: ReadonlySet<string> = new Set([
  ...["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"],
  "Concatenate",
]);

/** What an input or a first layer is given. */
function givenRank({ batch_input_shape, batch_shape }: KerasConfig) {
  return listLength(batch_input_shape) ?? listLength(batch_shape);
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path);
}

/** Where layers are that only have the name of one of Keras' own. */
function customPaths(layers: readonly ConfigLayer[]): Set<string> {
  const paths = new Set<string>();
  const visit = ({ path, entry, children }: ConfigLayer): void => {
    const { class_name, module } = entry;
    const isOwn = !String(class_name).includes(">") &&
      (typeof module !== "string" || /^(tf_)?keras\b/.test(module));
    if (!isOwn) paths.add(keyOf(path));
    children.forEach(visit);
  };
  layers.forEach(visit);
  return paths;
}

/** Whether a call is inside of a layer that is no model, such as TimeDistributed. */
function isWrapped({ path }: LayerCall, layers: ReadonlySet<string>): boolean {
  return path.some((_, i) => i > 0 && layers.has(keyOf(path.slice(0, i))));
}

function inputRank(
  { config, inputs }: LayerCall,
  outputs: ReadonlyMap<LayerCall, number>,
): number | undefined {
  const given = givenRank(config);
  const ranks = new Set(inputs.map((input) => outputs.get(input)));
  if (given !== undefined) ranks.add(given);
  const [rank, ...others] = ranks;
  return others.length > 0 ? undefined : rank;
}

function outputRank(
  { className, config, inputs }: LayerCall,
  rank: number | undefined,
): number | undefined {
  if (rank === undefined) return undefined;
  if (className === "InputLayer" || MERGES.has(className)) return rank;
  return inputs.length > 1 ? undefined : RULES.get(className)?.(config, rank);
}

/**
 * The ranks of the layers' inputs, with the batch, by the names down to each
 * layer, joined with `/`. A layer that is used for inputs of several ranks has
 * none, nor has one in a wrapper such as TimeDistributed.
 *
 * @param model The model's configuration.
 */
export function inferRanks(model: KerasConfig): ReadonlyMap<string, number> {
  const calls = layerCalls(model) ?? [];
  const custom = customPaths(calls.length > 0 ? configLayers(model) : []);
  const layers = new Set(calls.map(({ path }) => keyOf(path)));
  const outputs = new Map<LayerCall, number>();
  const found = new Map<string, number | undefined>();
  // Each stands behind what it is applied to.
  for (const call of calls) {
    const known = isWrapped(call, layers)
      ? undefined
      : inputRank(call, outputs);
    const key = call.path.join("/");
    found.set(
      key,
      found.has(key) && found.get(key) !== known ? undefined : known,
    );
    const rank = custom.has(keyOf(call.path))
      ? undefined
      : outputRank(call, known);
    if (rank !== undefined) outputs.set(call, rank);
  }
  return new Map(
    [...found].filter((each): each is [string, number] =>
      each[1] !== undefined
    ),
  );
}
