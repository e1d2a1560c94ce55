/**
 * The moving statistics in a training graph, in primitive operators.
 *
 * @module
 */

import type { WeightName } from "../../layer/weights.ts";
import type { BatchValues, CorrectionValues } from "./batch.ts";
import type { TrainingGraph } from "./graph.ts";

/**
 * How a release moves its averages; the arithmetic, operation by operation, of
 * `moveAverage` in the layer.
 */
function moveAverage(
  { writer, layer }: TrainingGraph,
  old: string,
  fresh: string,
  momentum: number,
): string {
  const { kerasVersion } = layer.options;
  const isKeras3 = kerasVersion === "3";
  const round = writer.type === "float64"
    ? (number: number) => number
    : Math.fround;
  // Keras 2 rounds 1 - m to float32 for float64 variables too.
  const share = (isKeras3 ? round : Math.fround)(1 - momentum);
  if (layer.fused && share === 1) return fresh;
  const weight = writer.scalar("share", share);
  if (!layer.fused && !isKeras3) {
    const difference = writer.op("Sub", [old, fresh]);
    const step = writer.op("Mul", [difference, weight]);
    return writer.op("Sub", [old, step]);
  }
  const kept = layer.fused ? round(1 - share) : round(momentum);
  return writer.op("Add", [
    writer.op("Mul", [old, writer.scalar("momentum", kept)]),
    writer.op("Mul", [fresh, weight]),
  ]);
}

/** `variance * N / max(N - 1, 1)`, as the fused path stores it. */
function unbiased(
  graph: TrainingGraph,
  variance: string,
  x: string,
): string {
  const { writer } = graph;
  const count = graph.count(x);
  if (typeof count === "number") {
    const factor = count / Math.max(count - 1, 1);
    return writer.op("Mul", [variance, writer.scalar("bessel", factor)]);
  }
  const one = writer.scalar("one", 1);
  const others = writer.op("Sub", [count, one]);
  const divisor = writer.bound("Max", others, "one", 1);
  const factor = writer.op("Div", [count, divisor]);
  return writer.op("Mul", [variance, factor]);
}

/** The batch as the averages see it: averaged over ghost batches. */
export interface AveragedBatch {
  readonly mean: string;
  readonly variance: string;
}

/** The statistics of a batch, averaged over its ghost batches. */
export function averagedOf(
  graph: TrainingGraph,
  { mean, variance }: BatchValues,
): AveragedBatch {
  return {
    mean: graph.averageGroups(mean),
    variance: graph.averageGroups(variance),
  };
}

/**
 * The new value of every moving statistic, in the variables' shape and type;
 * what does not move is not there.
 *
 * @param graph The graph.
 * @param averaged The batch's statistics.
 * @param correction Renormalization's correction.
 * @param x The graph's input.
 */
export function moveStatistics(
  graph: TrainingGraph,
  { mean, variance }: AveragedBatch,
  correction: CorrectionValues | undefined,
  x: string,
): ReadonlyMap<WeightName, string> {
  const { writer, layer } = graph;
  const { momentum, renormMomentum } = layer.options;
  const moved = new Map<WeightName, string>();
  const move = (weight: WeightName, fresh: string, by: number): string => {
    const value = moveAverage(graph, graph.value(weight)!, fresh, by);
    moved.set(weight, value);
    return value;
  };
  if (correction) {
    move("renorm_mean", mean, renormMomentum);
    move("renorm_stddev", correction.deviation, renormMomentum);
  }
  // TF 1's class, frozen, moves only renormalization's own averages.
  if (layer.trainable) {
    move("moving_mean", mean, momentum);
    if (correction) {
      const stddev = move("moving_stddev", correction.deviation, momentum);
      const epsilon = writer.scalar("epsilon", layer.effectiveEpsilon);
      const kept = graph.rounded(stddev);
      const square = writer.op("Mul", [kept, kept]);
      const difference = writer.op("Sub", [square, epsilon]);
      moved.set("moving_variance", writer.op("Relu", [difference]));
    } else {
      const fresh = layer.fused ? unbiased(graph, variance, x) : variance;
      move("moving_variance", fresh, momentum);
    }
  }
  return new Map(
    [...moved].map(([weight, value]) => [weight, graph.asVariable(value)]),
  );
}
