/**
 * A training state as an ONNX model, and back.
 *
 * @module
 */

import { FormatError, OptionError, UnsupportedError } from "../errors.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { buildOnnx } from "../onnx/build.ts";
import {
  buildOnnxGradient,
  type BuildOnnxGradientOptions,
} from "../onnx/training_graph/gradient.ts";
import type { BuildOnnxOptions } from "../onnx/build_options.ts";
import { graphVariables } from "../onnx/training_graph/variables.ts";
import { Edits, encodeFields } from "../onnx/edit.ts";
import { readTensor, type TensorView } from "../onnx/tensor_view.ts";
import { buildOnnxTraining } from "../onnx/training_graph/info.ts";
import type { BuildOnnxTrainingOptions } from "../onnx/training_graph/info_options.ts";
import { operatorParameters } from "../onnx/parameters.ts";
import type { ExternalDataSource } from "../onnx/external_data.ts";
import type { NodeUpdate } from "../onnx/update.ts";
import { type ModelView, viewModel } from "../onnx/view.ts";
import { rewriteTensor } from "../onnx/write_constants.ts";
import { byteView, type Tensor, type TensorData } from "../tensor.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { SGD } from "./sgd.ts";

/** The options of {@linkcode TrainingState.toOnnx}: which graph, and its own. */
export type StateOnnxOptions =
  | (
    & {
      /** The layer in inference (default), or a step of its training. */
      readonly graph?: "inference" | "training";
    }
    & Omit<BuildOnnxOptions, "training">
  )
  | (
    & {
      /** The gradients, as `buildOnnxGradient` writes them. */
      readonly graph: "gradient";
    }
    & BuildOnnxGradientOptions
  )
  | (
    & {
      /**
       * Inference with `TrainingInfoProto`, as `buildOnnxTraining` writes it;
       * learning rate and momentum are those of the state's SGD.
       */
      readonly graph: "training-info";
    }
    & BuildOnnxTrainingOptions
  );

/** The options of {@linkcode TrainingState.updateOnnx}. */
export interface UpdateOnnxOptions {
  /**
   * What to write: the statistics of the data (default, if there is any), or
   * the layer's gamma, beta, moving statistics and epsilon.
   */
  readonly from?: "data" | "layer";
  /** Of the data, the unbiased variance; default false. */
  readonly unbiased?: boolean;
  /** The files that hold elements outside of the model. */
  readonly externalData?: ExternalDataSource;
}

/** What a layer gives a node. */
export function updateFromLayer(
  layer: BatchNormalization | undefined,
): NodeUpdate {
  if (!layer) {
    throw new OptionError(
      "Cannot write a training state into an ONNX model: it holds no data and has no layer",
    );
  }
  const { scale, B, inputMean, inputVar, epsilon } = operatorParameters(layer);
  return {
    gamma: scale,
    beta: B,
    mean: inputMean,
    variance: inputVar,
    epsilon,
  };
}

/** The key in `metadata_props` under which a model carries a state. */
const METADATA_KEY = "evenkeel.training_state";
const MODEL_METADATA = 14;

/** How `buildOnnxTraining` calls what an SGD keeps for a variable. */
const velocityName = (layer: BatchNormalization, weight: string): string =>
  `${layer.name}/training/velocity_${weight}`;
const learningRateName = (layer: BatchNormalization): string =>
  `${layer.name}/training/learning_rate`;

/** What an SGD's configuration says to `buildOnnxTraining`. */
function learningOf(
  optimizer: Optimizer | undefined,
): Pick<BuildOnnxTrainingOptions, "learningRate" | "momentum" | "nesterov"> {
  if (!optimizer) return {};
  const { momentum, nesterov, ...others } = optimizer.getConfig();
  const special = [
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "weight_decay",
    "decay",
  ]
    .find((key) =>
      others[key] !== null && others[key] !== undefined && others[key] !== 0
    );
  if (!(optimizer instanceof SGD) || special !== undefined) {
    throw new UnsupportedError(
      `Cannot write the training state's ${optimizer.className}${
        special === undefined ? "" : ` with ${special}`
      } as ONNX: expected SGD with a learning rate and momentum only; write the graph "training" or "gradient" and let the optimizer run outside`,
    );
  }
  return {
    learningRate: optimizer.learningRate,
    momentum: momentum as number,
    nesterov: nesterov as boolean,
  };
}

function build(
  layer: BatchNormalization,
  optimizer: Optimizer | undefined,
  options: StateOnnxOptions,
): Uint8Array<ArrayBuffer> {
  const { graph = "inference", ...rest } = options;
  switch (graph) {
    case "inference":
    case "training":
      return buildOnnx(layer, {
        ...rest as BuildOnnxOptions,
        training: graph === "training",
      });
    case "gradient":
      return buildOnnxGradient(layer, rest as BuildOnnxGradientOptions);
    case "training-info":
      return buildOnnxTraining(layer, {
        ...learningOf(optimizer),
        ...rest as BuildOnnxTrainingOptions,
      });
    default:
      throw new OptionError(
        `Cannot write the training state as ONNX: expected graph "inference", "training", "gradient" or "training-info", got ${
          JSON.stringify(graph)
        }`,
      );
  }
}

/** The velocities that an optimizer has gathered, by the initializer's name. */
function velocitiesOf(
  layer: BatchNormalization,
  optimizer: Optimizer | undefined,
): Map<string, Tensor> {
  const slots = optimizer instanceof SGD ? optimizer.getState().slots : [];
  return new Map(
    slots.filter(({ slot }) => slot === "momentums").map((
      { variable, value },
    ) => [velocityName(layer, variable), value]),
  );
}

/** The initializers of a model and of its algorithms. */
function* initializersOf(
  { graph, trainingInfo }: ModelView,
): Generator<TensorView> {
  yield* graph.initializers.values();
  for (const { algorithm } of trainingInfo) {
    if (algorithm) yield* algorithm.initializers.values();
  }
}

/**
 * Writes a state as an ONNX model that carries the whole state.
 *
 * @param layer The state's layer.
 * @param optimizer Its optimizer.
 * @param save Saves the state, with the layer built.
 * @param options Which graph.
 */
export function stateToOnnx(
  layer: BatchNormalization | undefined,
  optimizer: Optimizer | undefined,
  save: () => Uint8Array,
  options: StateOnnxOptions,
): Uint8Array<ArrayBuffer> {
  if (!layer) {
    throw new OptionError(
      "Cannot write the training state as ONNX: it has no layer, make it with the option layer",
    );
  }
  const view = viewModel(build(layer, optimizer, options));
  const edits = new Edits(view.bytes);
  const velocities = velocitiesOf(layer, optimizer);
  for (const tensor of initializersOf(view)) {
    const velocity = velocities.get(tensor.name);
    if (velocity) rewriteTensor(edits, tensor, velocity);
  }
  edits.append(
    view.place,
    encodeFields((writer) =>
      writer.message(MODEL_METADATA, (entry) => {
        entry.string(1, METADATA_KEY);
        entry.string(2, toBase64(save()));
      })
    ),
  );
  return edits.finish();
}

/** The saved state that a model carries. */
export function stateInOnnx(model: Uint8Array): Uint8Array {
  const text = viewModel(model).metadata.get(METADATA_KEY);
  if (text === undefined) {
    throw new FormatError(
      "Cannot read a training state from the ONNX model: it carries none, expected one that TrainingState.toOnnx wrote",
    );
  }
  try {
    return fromBase64(text);
  } catch (cause) {
    throw new FormatError(
      "Cannot read a training state from the ONNX model: its metadata is damaged",
      { cause },
    );
  }
}

/** The elements of an initializer, if they fit what they are for. */
function matching(
  initializers: ReadonlyMap<string, TensorView>,
  name: string,
  like: Tensor,
): TensorData | undefined {
  const view = initializers.get(name);
  if (!view) return undefined;
  const { type, data } = readTensor(view);
  return type === like.type && data.length === like.data.length
    ? data as TensorData
    : undefined;
}

/**
 * Gives a layer and its optimizer what training in ONNX made of the model's
 * variables since the state was written: of models whose initializers are the
 * layer's variables themselves.
 */
export function adoptVariables(
  model: Uint8Array,
  layer: BatchNormalization | undefined,
  optimizer: Optimizer | undefined,
): void {
  const view = viewModel(model);
  if (!layer || view.trainingInfo.length === 0) return;
  const initializers = new Map(
    [...initializersOf(view)].map((tensor) => [tensor.name, tensor]),
  );
  for (const { name, value } of graphVariables(layer)) {
    const data = matching(initializers, name, value);
    if (data) copyInto(value, data);
  }
  if (!(optimizer instanceof SGD)) return;
  const state: OptimizerState = optimizer.getState();
  for (const { variable, value } of state.slots) {
    const data = matching(initializers, velocityName(layer, variable), value);
    if (data) copyInto(value, data);
  }
  const rate = initializers.get(learningRateName(layer));
  const value = rate && readTensor(rate);
  if (value?.type === "float32" || value?.type === "float64") {
    optimizer.learningRate = Number(value.data[0]);
  }
  optimizer.setState(state);
}

function copyInto({ data }: Tensor, from: TensorData): void {
  byteView(data).set(byteView(from));
}

function toBase64(bytes: Uint8Array): string {
  // Uint8Array.toBase64 is newer than Node 20; chunks, since arguments of a
  // call are limited.
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x2000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  }
  return btoa(text);
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
