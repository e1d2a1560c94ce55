/**
 * Writes one step of a layer's training as a graph.
 *
 * @module
 */

import { ShapeError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import { inferenceStatistics } from "../../layer/inference.ts";
import type { WeightName } from "../../layer/weights.ts";
import { checkMask, type Plan } from "../build_options.ts";
import {
  type AdjustmentValues,
  type BatchInputs,
  type BatchValues,
  correctionOf,
  type CorrectionValues,
  inverseOf,
  measureBatch,
  normalizeBatch,
} from "./batch.ts";
import { TrainingGraph, workingType } from "./graph.ts";
import { batchInputs, graphOf } from "./model.ts";
import { type AveragedBatch, averagedOf, moveStatistics } from "./updates.ts";
import { channelsFirst } from "../channels_first.ts";
import { DataType, type ModelProto, type ValueInfoProto } from "../model.ts";
import type { Step } from "../step.ts";
import { tensor } from "../../tensor.ts";
import { TRAINING_MODE_OPSET } from "../versions.ts";

/**
 * Checks what a training graph cannot be written for.
 *
 * @throws {ShapeError} If the batch is known to be empty, of which there are
 * no statistics.
 * @throws {OptionError} If there is a mask that the layer does not use.
 */
export function checkTraining(
  layer: BatchNormalization,
  extents: readonly (number | null)[],
  { mask, opset }: Pick<Plan, "mask" | "opset">,
): void {
  if (mask) checkMask(layer, extents.length, opset);
  if (extents.includes(0)) {
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as an ONNX training graph: an input of shape [${
        extents.map((extent) => extent ?? "null").join(", ")
      }] is empty and has no statistics`,
    );
  }
  const [batch] = extents;
  const { virtualBatchSize } = layer.options;
  if (
    virtualBatchSize !== null && typeof batch === "number" &&
    batch % virtualBatchSize !== 0
  ) {
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as an ONNX training graph: a batch of ${batch} is not divisible by virtualBatchSize ${virtualBatchSize}`,
    );
  }
}

/**
 * Whether BatchNormalization in training mode says what the layer does, up to
 * the rounding of the type that it computes in.
 *
 * It has one kept axis, the population's variance, and momentum and epsilon
 * in float32. It multiplies by `1 - momentum` in its own rounding: for float32
 * that is an error of one unit in the last place of the batch's value; a
 * float64 layer would see it, unless its numbers are float32s.
 */
export function fitsOperator(layer: BatchNormalization): boolean {
  const { options, axes, fused, effectiveEpsilon } = layer;
  const { renorm, virtualBatchSize, adjustment, momentum, dtype } = options;
  const isFloat32 = (value: number): boolean => Math.fround(value) === value;
  const type = workingType(layer);
  return layer.trainable && axes!.length === 1 && !fused && !renorm &&
    virtualBatchSize === null && adjustment === null &&
    dtype.variable === type &&
    (type === "float32" ||
      [effectiveEpsilon, momentum, 1 - momentum].every(isFloat32));
}

/** A step of training in a graph. */
export interface TrainingValues {
  /** The output, as the statistics see it. */
  readonly y: string;
  /** The batch. */
  readonly batch: BatchValues;
  /** Its statistics as the averages see them. */
  readonly averaged: AveragedBatch;
  /** Renormalization's correction. */
  readonly correction: CorrectionValues | undefined;
  /** The adjustment. */
  readonly adjustment: AdjustmentValues | undefined;
}

/** The forward pass of training, in primitive operators. */
export function trainBatch(
  graph: TrainingGraph,
  inputs: BatchInputs,
): TrainingValues {
  const { renorm, adjustment: adjusts } = graph.layer.options;
  const batch = measureBatch(graph, inputs);
  const averaged = averagedOf(graph, batch);
  const correction = renorm
    ? correctionOf(graph, averaged.mean, averaged.variance)
    : undefined;
  const adjustment = adjusts
    ? {
      scale: graph.see("adjustment_scale"),
      bias: graph.see("adjustment_bias"),
    }
    : undefined;
  const y = normalizeBatch(graph, batch, correction, adjustment);
  return { y, batch, averaged, correction, adjustment };
}

/**
 * The layer's inference, with its variables as values of the graph:
 * operation by operation what `call` computes.
 *
 * @throws {OptionError} If `movingVariance + epsilon` is negative somewhere.
 */
export function inferBatch(graph: TrainingGraph, x: string): string {
  const { writer, layer } = graph;
  inferenceStatistics(layer, writer.type === "float64"); // throws
  const { inverse } = inverseOf(graph, graph.value("moving_variance")!);
  const a = writer.product(inverse, graph.value("gamma"));
  const shift = writer.op("Mul", [graph.value("moving_mean")!, a]);
  const beta = graph.value("beta") ?? writer.scalar("zero", 0);
  const b = writer.op("Sub", [beta, shift]);
  return writer.op("Add", [writer.op("Mul", [graph.see(x), a]), b]);
}

/** Steps of a chain, as nodes; the last value. */
function chain(
  { writer }: TrainingGraph,
  steps: readonly Step[],
  from: string,
): string {
  return steps.reduce(
    (value, { op, constants, attributes }) =>
      writer.op(op, [
        value,
        ...constants.map((constant) => writer.constant(constant)),
      ], attributes),
    from,
  );
}

/** BatchNormalization in training mode; its outputs are the graph's. */
function writeOperator(
  graph: TrainingGraph,
  { opset, inputName }: Plan,
): string {
  const { writer, layer, extents } = graph;
  const { before, after } = channelsFirst(extents, layer.axes!, opset);
  const { compute } = layer.options.dtype;
  const cast = (value: string, to: typeof compute): string =>
    compute === writer.type ? value : writer.cast(value, to);
  const x = cast(chain(graph, before, inputName), writer.type);
  const nameOf = (weight: WeightName): string | undefined =>
    graph.variables.find((each) => each.weight === weight)?.name;
  const channels = extents[layer.axes![0]!]!;
  const constant = (name: string, fill: number): string =>
    writer.initializer(
      `${layer.name}/${name}`,
      tensor(new Array(channels).fill(fill), [channels], writer.type),
    );
  const isMode = opset >= TRAINING_MODE_OPSET;
  const y = `${layer.name}:0`;
  writer.add({
    name: layer.name,
    opType: "BatchNormalization",
    input: [
      x,
      nameOf("gamma") ?? constant("scale", 1),
      nameOf("beta") ?? constant("B", 0),
      nameOf("moving_mean")!,
      nameOf("moving_variance")!,
    ],
    output: [
      y,
      "running_mean",
      "running_var",
      // Before opset 14 it is in training if it has all five.
      ...(isMode
        ? []
        : [`${layer.name}/saved_mean`, `${layer.name}/saved_var`]),
    ],
    attribute: [
      { name: "epsilon", f: layer.effectiveEpsilon },
      { name: "momentum", f: layer.options.momentum },
      ...(isMode ? [{ name: "training_mode", i: 1 }] : []),
    ],
  });
  return chain(graph, after, cast(y, compute));
}

/** The moving statistics as outputs of a graph. */
function movingOutputs(graph: TrainingGraph): ValueInfoProto[] {
  return graph.variables.flatMap(({ output, value }) =>
    output === undefined ? [] : [{
      name: output,
      elemType: DataType[value.type],
      shape: value.dims,
    }]
  );
}

/**
 * The model of one step of training.
 *
 * @param layer The built layer.
 * @param extents The extents of the input; null where dynamic.
 * @param shape The same with names for those.
 * @param plan How to write it.
 *
 * @throws {ShapeError} If the batch is known to be empty, or ghost batches do
 * not divide it.
 * @throws {OptionError} If there is a mask that the layer does not use.
 */
export function trainingModel(
  layer: BatchNormalization,
  extents: readonly (number | null)[],
  shape: readonly (number | string)[],
  plan: Plan,
): ModelProto {
  checkTraining(layer, extents, plan);
  const { opset, irVersion, inputName, outputName, mask } = plan;
  const trains = TrainingGraph.trains(layer);
  const graph = new TrainingGraph(layer, extents, { opset, ghosts: trains });
  const { writer } = graph;
  if (plan.form === "op" && !mask && fitsOperator(layer)) {
    writer.publish(writeOperator(graph, plan), outputName);
  } else {
    let moved: ReadonlyMap<WeightName, string> = new Map();
    let y: string;
    if (trains) {
      const step = trainBatch(graph, {
        x: inputName,
        mask: mask ? "mask" : undefined,
      });
      const { averaged, correction } = step;
      moved = moveStatistics(graph, averaged, correction, inputName);
      y = step.y;
    } else {
      y = inferBatch(graph, inputName);
    }
    writer.publish(graph.restore(y, inputName), outputName);
    for (const { weight, name, output } of graph.variables) {
      if (output === undefined) continue;
      writer.publish(moved.get(weight) ?? name, output);
    }
  }
  const elemType = DataType[layer.options.dtype.compute];
  return {
    irVersion,
    producerName: "evenkeel",
    graph: graphOf(graph, {
      inputs: batchInputs(graph, shape, { x: inputName, mask, trains }),
      outputs: [
        { name: outputName, elemType, shape },
        ...movingOutputs(graph),
      ],
    }, plan),
    opsetImport: [{ domain: "", version: opset }],
  };
}
