/**
 * A layer's gradients in a graph, in primitive operators.
 *
 * With g = dy, averages over each statistic's elements and
 * xhat = (x - mean) * inverse:
 *
 *     h      = g, times the adjustment's scale
 *     dx     = inverse * r * gamma * (h - average(h) - xhat * average(h * xhat))
 *     dgamma = sum(h * xhat) * r + sum(h) * d, plus sum(g * ab)
 *     dbeta  = sum(g)
 *
 * r and d of renormalization and the moving averages are constants, as in
 * Keras. In inference, `dx = g * gamma * inverse` with the moving statistics.
 *
 * @module
 */

import type { BatchValues } from "./batch.ts";
import type { TrainingGraph } from "./graph.ts";
import { inverseOf } from "./batch.ts";
import type { TrainingValues } from "./training.ts";

/** Gradients as values of a graph. */
export interface GradientValues {
  /** By the input, as the statistics see it. */
  readonly dx: string;
  /** By gamma, one per channel; undefined if there is none. */
  readonly dgamma: string | undefined;
  /** By beta, one per channel; undefined if there is none. */
  readonly dbeta: string | undefined;
}

/**
 * The gradients of a step of training.
 *
 * @param graph The graph.
 * @param step The step.
 * @param dy The gradient by the output, as the statistics see it.
 */
export function trainingGradientValues(
  graph: TrainingGraph,
  { batch, correction, adjustment }: TrainingValues,
  dy: string,
): GradientValues {
  const { writer } = graph;
  const gamma = graph.value("gamma");
  const beta = graph.value("beta");
  const passed = writer.product(dy, adjustment?.scale);
  const normalized = writer.op("Mul", [batch.deviation, batch.inverse]);
  const along = writer.op("Mul", [passed, normalized]);
  const factor = writer.product(batch.inverse, correction?.r, gamma);
  let dgamma: string | undefined;
  if (gamma !== undefined) {
    const scaled = writer.product(graph.sumAll(along), correction?.r);
    const shifted = correction &&
      writer.op("Mul", [graph.sumAll(passed), correction.d]);
    const adjusted = adjustment &&
      graph.sumAll(writer.op("Mul", [dy, adjustment.bias]));
    dgamma = writer.sum(writer.sum(scaled, shifted), adjusted);
  }
  return {
    dx: batch.mask
      ? maskedInputGradient(graph, batch, passed, factor)
      : inputGradient(graph, { passed, normalized, along, factor }),
    dgamma,
    dbeta: beta === undefined ? undefined : graph.sumAll(dy),
  };
}

function inputGradient(
  graph: TrainingGraph,
  { passed, normalized, along, factor }: {
    passed: string;
    normalized: string;
    along: string;
    factor: string;
  },
): string {
  const { writer } = graph;
  const centered = writer.op("Sub", [passed, graph.average(passed)]);
  const slope = writer.op("Mul", [normalized, graph.average(along)]);
  return writer.op("Mul", [writer.op("Sub", [centered, slope]), factor]);
}

/**
 * dx where only some positions made the statistics, but all are normalized:
 * every position's gradient reaches those that count through the mean and
 * through the variance.
 */
function maskedInputGradient(
  graph: TrainingGraph,
  { deviation, inverse, mask }: BatchValues,
  passed: string,
  factor: string,
): string {
  const { writer } = graph;
  const { weigh, divisor, counts } = mask!;
  const sum = graph.sum(passed);
  const product = graph.sum(writer.op("Mul", [passed, deviation]));
  const square = writer.op("Mul", [inverse, inverse]);
  // -2 times the gradient by the variance, whose own factor is -1/2.
  const slope = writer.product(product, factor, square);
  // 0 but for what the divisor is off.
  const residual = graph.sum(weigh(deviation));
  const byMean = writer.op("Sub", [
    writer.op("Div", [writer.op("Mul", [slope, residual]), divisor]),
    writer.op("Mul", [sum, factor]),
  ]);
  const byElement = writer.op("Sub", [
    byMean,
    writer.op("Mul", [slope, deviation]),
  ]);
  const through = writer.op("Div", [
    writer.product(weigh(byElement), counts),
    divisor,
  ]);
  return writer.op("Add", [writer.op("Mul", [passed, factor]), through]);
}

/**
 * The gradients of inference.
 *
 * @param graph The graph, which sees no ghost batches.
 * @param x The input.
 * @param dy The gradient by the output.
 */
export function inferenceGradientValues(
  graph: TrainingGraph,
  x: string,
  dy: string,
): GradientValues {
  const { writer } = graph;
  const gamma = graph.value("gamma");
  const { inverse } = inverseOf(graph, graph.value("moving_variance")!);
  let dgamma: string | undefined;
  if (gamma !== undefined) {
    const mean = graph.value("moving_mean")!;
    const deviation = writer.op("Sub", [graph.see(x), mean]);
    const along = graph.sumAll(writer.op("Mul", [dy, deviation]));
    dgamma = writer.op("Mul", [along, inverse]);
  }
  return {
    dx: writer.op("Mul", [dy, writer.product(inverse, gamma)]),
    dgamma,
    dbeta: graph.value("beta") === undefined ? undefined : graph.sumAll(dy),
  };
}
