/**
 * A batch in a training graph: its statistics and its normalized values, in
 * primitive operators.
 *
 * With x in the type that the layer computes statistics in and averages over
 * the reduced axes, a batch is measured in two passes from a shifted origin:
 *
 *     m0 = average(x)        d0   = x - m0
 *     m1 = average(d0)       mean = m0 + m1
 *     d  = d0 - m1           variance = average(d * d)
 *     inverse = 1 / sqrt(variance + epsilon)
 *
 * m0 is off by the rounding of a sum of large numbers; x - m0 hardly rounds,
 * and m1 is what m0 was off. So d, and all that is made of it, has an error
 * relative to the deviation, where one pass, or the mean alone, has one
 * relative to the mean: Chan, Golub and LeVeque, "Algorithms for computing
 * the sample variance", 1983.
 *
 * @module
 */

import type { TrainingGraph } from "./graph.ts";

/** What of a batch its output, its gradients and the averages are made of. */
export interface BatchValues {
  /** x - mean, of the batch as it is seen. */
  readonly deviation: string;
  /** The mean of each statistic. */
  readonly mean: string;
  /** The population variance of each statistic. */
  readonly variance: string;
  /** 1 / sqrt(variance + epsilon) of each statistic. */
  readonly inverse: string;
  /** What a mask adds. */
  readonly mask: MaskValues | undefined;
}

/** A mask in the graph. */
export interface MaskValues {
  /** Leaves out what does not count: times its weight. */
  readonly weigh: (value: string) => string;
  /** What sums are divided by; 1 instead of 0. */
  readonly divisor: string;
  /** 0 where the divisor would be 0, else 1; undefined if it never is. */
  readonly counts: string | undefined;
  /** The divisor minus the sum of the weights, if they can differ. */
  readonly excess: string | undefined;
}

/** `1 / sqrt(variance + epsilon)` and the root itself. */
export function inverseOf(
  { writer, layer }: TrainingGraph,
  variance: string,
): { deviation: string; inverse: string } {
  const epsilon = writer.scalar("epsilon", layer.effectiveEpsilon);
  const deviation = writer.op("Sqrt", [writer.op("Add", [variance, epsilon])]);
  // Not a division of 1: onnxruntime makes `1 / a * b` a division of b, which
  // rounds in another way than the layer.
  return { deviation, inverse: writer.op("Reciprocal", [deviation]) };
}

/** Keras 3 adds `keras.config.epsilon()` to the number of positions. */
const KERAS_EPSILON = 1e-7;

/** The inputs of a batch, by the names of the graph's inputs. */
export interface BatchInputs {
  /** The layer's input. */
  readonly x: string;
  /** The mask, if the layer uses one. */
  readonly mask?: string | undefined;
}

/** The weights of a mask's positions and their sum. */
function readMask(graph: TrainingGraph, mask: string, x: string): MaskValues {
  const { writer, layer, extents, reduced } = graph;
  const rank = extents.length;
  const last = rank - 1;
  const { compute } = layer.options.dtype;
  const given = compute === writer.type ? mask : writer.cast(mask, writer.type);
  const isKeras3 = layer.options.kerasVersion === "3";
  const column = writer.unsqueezeLast(given, last);
  const condition = isKeras3 ? writer.cast(column, "bool") : undefined;
  const weights = condition ? writer.cast(condition, writer.type) : column;
  const weigh = (value: string): string =>
    condition
      ? writer.op("Where", [condition, value, writer.scalar("zero", 0)])
      : writer.op("Mul", [value, weights]);
  let total = graph.sum(weights);
  if (reduced.includes(last)) {
    // A weight counts once for every element along the last axis.
    total = writer.op("Mul", [total, lastExtent(graph, x)]);
  }
  if (isKeras3) {
    const small = writer.scalar("keras_epsilon", KERAS_EPSILON);
    const divisor = writer.op("Add", [total, small]);
    const excess = writer.op("Sub", [divisor, total]);
    return { weigh, divisor, counts: undefined, excess };
  }
  // tf.math.divide_no_nan: a sum over nothing is 0, whatever it is divided by.
  const counts = writer.cast(writer.cast(total, "bool"), writer.type);
  const missing = writer.op("Sub", [writer.scalar("one", 1), counts]);
  const divisor = writer.op("Add", [total, missing]);
  return { weigh, divisor, counts, excess: undefined };
}

/** The extent of the input's last dimension. */
function lastExtent({ writer, extents }: TrainingGraph, x: string): string {
  const known = extents.at(-1)!;
  if (known !== null) return writer.scalar("last_extent", known);
  const extent = writer.op("Gather", [
    writer.op("Shape", [x]),
    writer.integers("last", [extents.length - 1]),
  ], [{ name: "axis", i: 0 }]);
  return writer.cast(extent, writer.type);
}

/**
 * Measures a batch.
 *
 * @param graph The graph.
 * @param inputs The names of its inputs.
 */
export function measureBatch(
  graph: TrainingGraph,
  { x: input, mask }: BatchInputs,
): BatchValues {
  const { writer } = graph;
  const x = graph.see(input);
  const masked = mask === undefined ? undefined : readMask(graph, mask, input);
  const average = (value: string): string => {
    if (!masked) return graph.average(value);
    const { weigh, divisor, counts } = masked;
    const sum = graph.sum(weigh(value));
    return writer.op("Div", [writer.product(sum, counts), divisor]);
  };
  const origin = average(x);
  const shifted = writer.op("Sub", [x, origin]);
  let rest = average(shifted);
  if (masked?.excess !== undefined) {
    // With a divisor beyond the sum of the weights the origin counts less.
    const share = writer.op("Div", [masked.excess, masked.divisor]);
    rest = writer.op("Sub", [rest, writer.op("Mul", [origin, share])]);
  }
  const mean = writer.op("Add", [origin, rest]);
  const deviation = writer.op("Sub", [shifted, rest]);
  const variance = average(writer.op("Mul", [deviation, deviation]));
  const { inverse } = inverseOf(graph, variance);
  return { deviation, mean, variance, inverse, mask: masked };
}

/** Renormalization's correction of each channel. */
export interface CorrectionValues {
  /** `sqrt(variance + epsilon)`, averaged over ghost batches. */
  readonly deviation: string;
  /** The factor. */
  readonly r: string;
  /** The summand. */
  readonly d: string;
}

/**
 * Batch renormalization's factor and summand, from the averages before this
 * batch: `r = s / rs` and `d = (mean - renormMean) / rs` with
 * `rs = max(renormStddev, sqrt(epsilon))`, within their bounds.
 */
export function correctionOf(
  graph: TrainingGraph,
  mean: string,
  variance: string,
): CorrectionValues {
  const { writer, layer } = graph;
  const { rmin, rmax, dmax } = layer.options.renormClipping;
  const { deviation } = inverseOf(graph, variance);
  const bound = (
    op: "Max" | "Min",
    value: string,
    name: string,
    limit: number | undefined,
  ): string =>
    limit === undefined ? value : writer.bound(op, value, name, limit);
  const least = Math.sqrt(layer.effectiveEpsilon);
  const known = bound(
    "Max",
    graph.value("renorm_stddev")!,
    "least_stddev",
    least,
  );
  const ratio = writer.op("Div", [deviation, known]);
  const shift = writer.op("Div", [
    writer.op("Sub", [mean, graph.value("renorm_mean")!]),
    known,
  ]);
  // In Keras' order; it matters if rmin is greater than rmax.
  const r = bound("Min", bound("Max", ratio, "rmin", rmin), "rmax", rmax);
  const above = dmax === undefined ? undefined : -dmax;
  const d = bound("Min", bound("Max", shift, "least_d", above), "most_d", dmax);
  return { deviation, r, d };
}

/** The inputs of an adjustment, as large as the batch or broadcast to it. */
export interface AdjustmentValues {
  readonly scale: string;
  readonly bias: string;
}

/**
 * The layer's output for a measured batch:
 * `y = ((xhat * r + d) * as + ab) * gamma + beta`.
 *
 * @param graph The graph.
 * @param batch The measured batch.
 * @param correction Renormalization's correction.
 * @param adjustment The adjustment, in the working type.
 */
export function normalizeBatch(
  graph: TrainingGraph,
  batch: BatchValues,
  correction: CorrectionValues | undefined,
  adjustment: AdjustmentValues | undefined,
): string {
  const { writer } = graph;
  const gamma = graph.value("gamma");
  const beta = graph.value("beta");
  if (!adjustment) {
    const factor = writer.product(batch.inverse, correction?.r, gamma);
    const shift = correction && writer.product(correction.d, gamma);
    const summand = writer.sum(shift, beta);
    const scaled = writer.op("Mul", [batch.deviation, factor]);
    return writer.sum(scaled, summand)!;
  }
  const factor = writer.product(batch.inverse, correction?.r);
  const normalized = writer.op("Mul", [batch.deviation, factor]);
  const corrected = writer.sum(normalized, correction?.d)!;
  const adjusted = writer.op("Add", [
    writer.op("Mul", [corrected, adjustment.scale]),
    adjustment.bias,
  ]);
  return writer.sum(writer.product(adjusted, gamma), beta)!;
}
