/**
 * Writes a layer with its training in ONNX' own form: `TrainingInfoProto`.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { inferenceModel } from "../build.ts";
import {
  type GradientValues,
  trainingGradientValues,
} from "./gradient_values.ts";
import { buildForShape, type Plan } from "../build_options.ts";
import { checkTraining, inferBatch, trainBatch } from "./training.ts";
import { TrainingGraph, workingType } from "./graph.ts";
import { batchInputs, graphOf } from "./model.ts";
import { moveStatistics } from "./updates.ts";
import { type GraphVariable, graphVariables } from "./variables.ts";
import {
  DataType,
  encodeModel,
  type GraphProto,
  type StringStringEntryProto,
  type ValueInfoProto,
} from "../model.ts";
import { createData, tensor } from "../../tensor.ts";
import {
  type BuildOnnxTrainingOptions,
  checkLearning,
  checkTrainingOptions,
  type TrainingPlan,
} from "./info_options.ts";

/** The names of the graphs' input and output. */
const ENDS = { inputName: "x", outputName: "y" } as const;

/** Whether the operator in inference takes the layer's variables as they are. */
function infersByOperator(layer: BatchNormalization): boolean {
  const type = workingType(layer);
  const { effectiveEpsilon } = layer;
  return layer.options.dtype.variable === type &&
    (type === "float32" || Math.fround(effectiveEpsilon) === effectiveEpsilon);
}

/** The layer in inference, with its variables as initializers. */
function inferenceGraph(
  layer: BatchNormalization,
  variables: readonly GraphVariable[],
  { extents, shape }: ReturnType<typeof buildForShape>,
  { opset, irVersion }: TrainingPlan,
): GraphProto {
  const plan: Plan = {
    ...ENDS,
    opset,
    irVersion,
    form: "op",
    training: false,
    mask: false,
    state: "initializers",
  };
  if (infersByOperator(layer)) {
    return inferenceModel(layer, extents, shape, plan).graph;
  }
  const graph = new TrainingGraph(layer, extents, {
    opset,
    ghosts: false,
    variables,
  });
  const { inputName: x, outputName: y } = ENDS;
  graph.writer.publish(graph.restore(inferBatch(graph, x), x), y);
  const elemType = DataType[layer.options.dtype.compute];
  return graphOf(graph, {
    inputs: [{ name: x, elemType, shape }],
    outputs: [{ name: y, elemType, shape }],
  }, plan);
}

/** An output of the algorithm and what it is bound to. */
interface Update {
  readonly key: string;
  readonly output: ValueInfoProto;
}

/** Everything that the algorithm writes, in one place. */
class Algorithm {
  readonly graph: TrainingGraph;
  readonly updates: Update[] = [];
  readonly outputs: ValueInfoProto[] = [];
  readonly #plan: TrainingPlan;
  readonly #prefix: string;

  constructor(graph: TrainingGraph, plan: TrainingPlan) {
    this.graph = graph;
    this.#plan = plan;
    this.#prefix = `${graph.layer.name}/training`;
  }

  /** Makes a value of the variables' shape and type an output. */
  publish(value: string, name: string): ValueInfoProto {
    const { type, dims } = this.graph.variables[0]!.value;
    const output = { name, elemType: DataType[type], shape: dims };
    this.graph.writer.publish(this.graph.asVariable(value), name);
    this.outputs.push(output);
    return output;
  }

  /** Binds a new value to an initializer. */
  update(key: string, value: string, name: string): void {
    this.updates.push({ key, output: this.publish(value, `next_${name}`) });
  }

  /** Gradient descent, in the order of operations of Keras' SGD. */
  descend(variable: GraphVariable, gradient: string): void {
    const { graph } = this;
    const { writer } = graph;
    const { learningRate, momentum, nesterov } = this.#plan;
    const { weight, name, value } = variable;
    // An initializer of its own: callers may change it between steps. In
    // Keras it is a float32, whatever the variables are.
    const rate = writer.initializer(
      `${this.#prefix}/learning_rate`,
      tensor([Math.fround(learningRate)], [], writer.type),
    );
    const along = writer.op("Mul", [graph.rounded(gradient), rate]);
    const old = graph.value(weight)!;
    if (momentum === 0) {
      this.update(name, writer.op("Sub", [old, along]), weight);
      return;
    }
    const key = writer.initializer(`${this.#prefix}/velocity_${weight}`, {
      ...value,
      data: createData(value.type, value.data.length),
    });
    const share = writer.scalar("sgd_momentum", Math.fround(momentum));
    const velocity = graph.ready(key, value);
    const moved = writer.op("Sub", [
      writer.op("Mul", [velocity, share]),
      along,
    ]);
    const step = nesterov
      ? writer.op("Sub", [writer.op("Mul", [moved, share]), along])
      : moved;
    this.update(name, writer.op("Add", [old, step]), weight);
    this.update(key, moved, `velocity_${weight}`);
  }
}

/** The gradient by the output, as the statistics see it. */
function lossGradient(
  { graph, outputs }: Algorithm,
  y: string,
  { loss }: TrainingPlan,
): string {
  const { writer } = graph;
  if (loss === "gradient") return graph.see("dy");
  const target = graph.see("target");
  const difference = writer.op("Sub", [y, target]);
  const square = writer.op("Mul", [difference, difference]);
  // Without axes, over all of them.
  const average = writer.op("ReduceMean", [square], [
    { name: "keepdims", i: 0 },
  ]);
  writer.publish(average, "loss");
  outputs.push({ name: "loss", elemType: DataType[writer.type], shape: [] });
  const count = writer.cast(writer.op("Size", [ENDS.inputName]), writer.type);
  const factor = writer.op("Div", [writer.scalar("two", 2), count]);
  return writer.op("Mul", [difference, factor]);
}

function publishGradients(
  algorithm: Algorithm,
  gradients: GradientValues,
): void {
  for (const weight of ["gamma", "beta"] as const) {
    const gradient = gradients[`d${weight}`];
    const variable = algorithm.graph.variables.find((each) =>
      each.weight === weight
    );
    if (gradient === undefined || !variable) continue;
    algorithm.descend(variable, gradient);
    algorithm.publish(gradient, `d${weight}`);
  }
}

/** A step of training: what the outputs of the algorithm are. */
function writeAlgorithm(
  algorithm: Algorithm,
  plan: TrainingPlan,
  shape: readonly (number | string)[],
): GraphProto {
  const { graph, outputs } = algorithm;
  const { writer, layer } = graph;
  const { inputName: x } = ENDS;
  const step = trainBatch(graph, {
    x,
    mask: plan.mask ? "mask" : undefined,
  });
  const elemType = DataType[layer.options.dtype.compute];
  const y = graph.restore(step.y, x);
  // What a loss sees is rounded to the layer's type.
  const seen = y === step.y ? y : graph.see(y);
  outputs.push({ name: "training_y", elemType, shape });
  const dy = lossGradient(algorithm, seen, plan);
  const gradients = trainingGradientValues(graph, step, dy);
  outputs.push({ name: "dx", elemType, shape });
  publishGradients(algorithm, gradients);
  const moved = moveStatistics(graph, step.averaged, step.correction, x);
  for (const { weight, name } of graph.variables) {
    const value = moved.get(weight);
    if (value !== undefined) algorithm.update(name, value, weight);
  }
  writer.publish(graph.restore(gradients.dx, x), "dx");
  writer.publish(y, "training_y");
  const [, ...others] = batchInputs(graph, shape, {
    x,
    mask: plan.mask,
    trains: true,
  });
  const given = plan.loss === "gradient" ? "dy" : "target";
  return graphOf(graph, {
    inputs: [{ name: given, elemType, shape }, ...others],
    outputs,
  }, { state: "initializers", irVersion: plan.irVersion });
}

/**
 * Writes a layer in inference together with a step of its training, as ONNX'
 * `TrainingInfoProto`.
 *
 * The model's graph is the layer in inference, from `x` to `y`, with gamma,
 * beta and the moving statistics as its initializers: BatchNormalization, or
 * primitive operators where the operator cannot take the variables as they are
 * (16-bit variables; float64 with an epsilon that is no float32). A runtime
 * that knows nothing of training runs it as any other model.
 *
 * The `algorithm`, which is run together with that graph, takes the same `x`;
 * `dy` or `target`; and what adjustment and mask need, named as in
 * `buildOnnx`. Its outputs are
 *
 * - `training_y`, the output normalized by the batch; `loss` where it is known
 * - `dx`, `dgamma`, `dbeta`, the gradients
 * - `next_gamma`, `next_moving_mean` and so on, the new values of the
 *   variables, which the model's `update_binding` assigns to initializers
 *
 * gamma and beta move by gradient descent, as `SGD` does:
 *
 *     velocity = momentum * velocity - learningRate * gradient
 *     gamma    = gamma + velocity         // with nesterov: + momentum * velocity - learningRate * gradient
 *
 * The learning rate is the initializer `NAME/training/learning_rate`; with a
 * momentum, velocities are initializers that are bound as well. `OnnxTrainer`
 * runs such models.
 *
 * A layer that is not built is built for `inputShape`. An empty batch, where
 * the shape allows one, gives NaN.
 *
 * @param layer The layer.
 * @param options The input's shape, the loss and the optimizer.
 * @returns The bytes of the ONNX file.
 *
 * @throws {ShapeError} If `inputShape` is not a shape that the layer can have,
 * or one of an empty batch.
 * @throws {OptionError} If an option is unknown or has a value that it cannot
 * have, the layer is frozen, does not use a mask that is asked for, or has a
 * `movingVariance + epsilon` that is negative somewhere.
 * @throws {UnsupportedError} If the layer has regularizers or constraints, or
 * ghost batches and a mask.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnxTraining, OnnxTrainer } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ name: "bn" });
 * const model = buildOnnxTraining(layer, { inputShape: [null, 3], learningRate: 0.1 });
 * await using trainer = await OnnxTrainer.create(model);
 * assertEquals(trainer.inputNames, ["x", "dy"]);
 * assertEquals(trainer.variableNames.includes("bn/scale"), true);
 * ```
 */
export function buildOnnxTraining(
  layer: BatchNormalization,
  options: BuildOnnxTrainingOptions,
): Uint8Array<ArrayBuffer> {
  const plan = checkTrainingOptions(layer, options);
  checkLearning(layer);
  const built = buildForShape(layer, options.inputShape);
  const { extents, shape } = built;
  checkTraining(layer, extents, plan);
  const { opset, irVersion } = plan;
  const own = graphVariables(layer);
  // The operator has vectors, whatever shape the layer's variables have.
  const variables = infersByOperator(layer)
    ? own.map((variable) => ({
      ...variable,
      value: { ...variable.value, dims: [variable.value.data.length] },
    }))
    : own;
  const main = inferenceGraph(layer, variables, built, plan);
  const graph = new TrainingGraph(layer, extents, {
    opset,
    variables,
    prefix: `${layer.name}/training`,
  });
  const algorithm = new Algorithm(graph, plan);
  const written = writeAlgorithm(algorithm, plan, shape);
  const shared = new Set(main.initializer.map(({ name }) => name));
  const updateBinding = algorithm.updates.map((
    { key, output },
  ): StringStringEntryProto => ({ key, value: output.name }));
  return encodeModel({
    irVersion,
    producerName: "evenkeel",
    graph: main,
    opsetImport: [{ domain: "", version: opset }],
    trainingInfo: [{
      algorithm: {
        ...written,
        name: `${layer.name}/training`,
        initializer: written.initializer.filter(({ name }) =>
          !shared.has(name)
        ),
      },
      updateBinding,
    }],
  });
}
