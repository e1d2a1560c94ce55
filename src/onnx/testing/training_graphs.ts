/**
 * Layers in training for the graphs' tests: a table of cases, and how far a
 * graph may be off.
 *
 * @module
 */

import { assert, assertEquals, AssertionError } from "@std/assert";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import {
  castTensor,
  elementCount,
  type ElementType,
  type Tensor,
  tensor,
  widen,
} from "../../tensor.ts";
import { loadReference } from "../reference.ts";
import { randomLayer, randomTensor } from "./layers.ts";
import { decode, onnx } from "./onnx_proto.ts";

/** One kind of layer and batch. */
export interface TrainingGraphCase {
  readonly name: string;
  readonly options: BatchNormalizationOptions;
  /** The shape of the batch. */
  readonly dims: readonly number[];
  /** The shape that the graph is written for; by default that of the batch. */
  readonly inputShape?: readonly (number | null)[];
  readonly mask?: "some" | "none" | "weights";
  /** Shapes of an adjustment's scale and bias. */
  readonly adjustment?: readonly [readonly number[], readonly number[]];
  /** Added to the input: a mean far from 0. */
  readonly offset?: number;
  /** The first opset that can say it; 7 by default. */
  readonly since?: number;
  /** Only in the given type; by default also in float64. */
  readonly single?: boolean;
  /** Whether it is worth every opset. */
  readonly everyOpset?: boolean;
}

/** Those that changed an operator which is written, and what is between. */
export const OPSETS: readonly number[] = [
  7,
  8,
  9,
  13,
  14,
  15,
  17,
  18,
  21,
  26,
];

/** One on each side of every way to write something. */
export const SOME_OPSETS: readonly number[] = [7, 13, 18];

/** Keras 2 without the fused path, which has another variance. */
const plain = { kerasVersion: "2.4", fused: false } as const;
const keras3 = { kerasVersion: "3" } as const;
const clipping = { rmin: 0.8, rmax: 1.1, dmax: 0.2 };

/** All cases; those in float32 by default are run in float64 too. */
export const TRAINING_CASES: readonly TrainingGraphCase[] = [
  { name: "rank 1", options: { axis: 0 }, dims: [3] },
  { name: "rank 2", options: {}, dims: [9, 4], everyOpset: true },
  { name: "rank 2, axis 0", options: { axis: 0 }, dims: [4, 7] },
  {
    name: "rank 2, dynamic batch",
    options: {},
    dims: [9, 4],
    inputShape: [null, 4],
  },
  { name: "one row", options: {}, dims: [1, 4] },
  { name: "rank 3, axis 1", options: { axis: 1 }, dims: [3, 4, 5] },
  { name: "rank 3, Keras 3", options: { ...keras3 }, dims: [3, 5, 4] },
  {
    name: "rank 4, not fused",
    options: { ...plain, axis: 1 },
    dims: [2, 3, 4, 5],
  },
  {
    name: "rank 4, axis 2, all dynamic",
    everyOpset: true,
    options: { ...plain, axis: 2 },
    dims: [2, 4, 3, 5],
    inputShape: [null, null, 3, null],
  },
  { name: "rank 5, Keras 2.4", options: {}, dims: [2, 2, 3, 2, 4] },
  {
    name: "far from 0",
    options: { ...keras3 },
    dims: [32, 4],
    offset: 1000,
  },
  ...["2.4", "2.6", "2.12"].map((kerasVersion) => ({
    name: `fused, Keras ${kerasVersion}`,
    options: {
      kerasVersion: kerasVersion as "2.4",
      axis: 1,
      epsilon: 1e-6,
    },
    dims: [2, 3, 4, 5],
    single: true,
  })),
  {
    name: "fused, all dynamic",
    everyOpset: true,
    options: {},
    dims: [2, 4, 5, 3],
    inputShape: [null, null, null, 3],
    single: true,
  },
  {
    name: "fused, one element",
    options: {},
    dims: [1, 1, 1, 3],
    inputShape: [null, null, null, 3],
    single: true,
  },
  {
    name: "fused, one element, known",
    options: { momentum: 0 },
    dims: [1, 1, 1, 3],
    single: true,
  },
  {
    name: "fused, rank 5",
    options: { kerasVersion: "2.6", axis: 1 },
    dims: [2, 3, 2, 2, 3],
    single: true,
  },
  ...[0, 0.5, 1].flatMap((momentum) => [
    {
      name: `momentum ${momentum}, fused`,
      options: { momentum },
      dims: [2, 2, 3, 3],
      single: true,
    },
    { name: `momentum ${momentum}`, options: { momentum }, dims: [8, 3] },
    {
      name: `momentum ${momentum}, Keras 3`,
      options: { ...keras3, momentum },
      dims: [8, 3],
    },
  ]),
  { name: "no gamma", options: { scale: false }, dims: [6, 3] },
  { name: "no beta", options: { center: false }, dims: [6, 3] },
  {
    name: "neither",
    options: { scale: false, center: false, axis: 1 },
    dims: [4, 3, 2],
  },
  {
    name: "neither, fused",
    options: { scale: false, center: false, axis: 1 },
    dims: [4, 3, 2, 2],
    single: true,
  },
  ...[[1, 2], [1, 3], [0, 2], [0, 1, 2, 3], []].map((axis) => ({
    name: `axes [${axis}]`,
    options: { ...plain, axis },
    dims: [3, 2, 4, 3],
  })),
  { name: "renorm", options: { renorm: true }, dims: [8, 3] },
  {
    name: "renorm, clipped",
    everyOpset: true,
    options: { renorm: true, renormClipping: clipping, renormMomentum: 0.8 },
    dims: [8, 3],
    inputShape: [null, 3],
  },
  {
    name: "renorm, clipped on one side, axis 1, Keras 3",
    options: {
      ...keras3,
      renorm: true,
      renormClipping: { rmax: 1.5 },
      axis: 1,
    },
    dims: [4, 3, 5],
  },
  {
    name: "renorm, several axes",
    options: { renorm: true, axis: [1, 2] },
    dims: [5, 2, 3],
  },
  {
    name: "renorm, neither",
    options: { renorm: true, scale: false, center: false },
    dims: [5, 3],
  },
  { name: "ghost batches", options: { virtualBatchSize: 3 }, dims: [12, 4] },
  {
    name: "ghost batches, dynamic batch, axis 1",
    options: { virtualBatchSize: 2, axis: 1 },
    dims: [6, 3, 4],
    inputShape: [null, 3, 4],
  },
  {
    name: "ghost batches, all dynamic",
    everyOpset: true,
    options: { virtualBatchSize: 2, axis: 1 },
    dims: [6, 3, 4],
    inputShape: [null, 3, null],
  },
  {
    name: "ghost batches, several axes",
    options: { virtualBatchSize: 2, axis: [1, 3] },
    dims: [4, 2, 3, 2],
  },
  {
    name: "ghost batches, renorm, clipped",
    options: { virtualBatchSize: 3, renorm: true, renormClipping: clipping },
    dims: [6, 4],
  },
  {
    name: "one ghost batch",
    options: { virtualBatchSize: 4, center: false },
    dims: [4, 3],
    inputShape: [null, 3],
  },
  {
    name: "adjustment",
    options: {},
    dims: [6, 4],
    adjustment: [[6, 1], [6, 4]],
  },
  {
    name: "adjustment, axis 1, no gamma",
    options: { ...plain, axis: 1, scale: false },
    dims: [3, 4, 2, 2],
    inputShape: [null, 4, null, 2],
    adjustment: [[3, 1, 1, 1], [1, 1, 1, 1]],
  },
  {
    name: "adjustment, renorm, neither",
    options: { renorm: true, scale: false, center: false },
    dims: [6, 4],
    adjustment: [[6, 1], [6, 1]],
  },
  {
    name: "adjustment, renorm",
    everyOpset: true,
    options: { renorm: true },
    dims: [6, 4],
    adjustment: [[6, 4], [1, 4]],
  },
  {
    name: "mask, Keras 3",
    everyOpset: true,
    options: { ...keras3 },
    dims: [4, 5, 3],
    inputShape: [null, null, 3],
    mask: "some",
    since: 9,
  },
  {
    name: "mask, Keras 3, axis 1",
    options: { ...keras3, axis: 1 },
    dims: [4, 3, 5],
    inputShape: [null, 3, null],
    mask: "weights",
    since: 9,
  },
  {
    name: "mask, Keras 3, renorm",
    options: { ...keras3, renorm: true },
    dims: [6, 2, 3],
    mask: "some",
    since: 9,
  },
  {
    name: "mask of nothing, Keras 3",
    options: { ...keras3 },
    dims: [4, 3],
    mask: "none",
    since: 9,
  },
  {
    name: "mask, Keras 2.12",
    everyOpset: true,
    options: { kerasVersion: "2.12" },
    dims: [4, 5, 3],
    mask: "some",
  },
  {
    name: "mask with weights, Keras 2.12, axis 1",
    options: { kerasVersion: "2.12", axis: 1 },
    dims: [4, 3, 5],
    mask: "weights",
  },
  {
    name: "mask of nothing, Keras 2.12",
    options: { kerasVersion: "2.12" },
    dims: [4, 3],
    mask: "none",
  },
  {
    name: "mask, adjustment, Keras 2.12",
    options: { kerasVersion: "2.12" },
    dims: [6, 4],
    mask: "some",
    adjustment: [[6, 1], [6, 4]],
  },
  { name: "frozen", options: { trainable: false }, dims: [5, 3] },
  {
    name: "frozen, fused, no gamma",
    options: { trainable: false, scale: false, axis: 1 },
    dims: [2, 3, 2, 2],
    single: true,
  },
  {
    name: "frozen, ghost batches, renorm",
    options: { trainable: false, virtualBatchSize: 2, renorm: true },
    dims: [4, 3],
  },
  // A float32 number, so that BatchNormalization says it in float64 too.
  {
    name: "epsilon 2^-10, momentum 3/4",
    options: { epsilon: 2 ** -10, momentum: 0.75, axis: 1 },
    dims: [5, 3, 2],
  },
  ...(["float16", "mixed_float16", "bfloat16", "mixed_bfloat16"] as const)
    .flatMap((dtype) =>
      (["2.4", "3"] as const).flatMap((kerasVersion) => [
        {
          name: `${dtype}, Keras ${kerasVersion}`,
          options: { dtype, kerasVersion, axis: 1 },
          dims: [4, 3, 6],
          single: true,
          ...(dtype.endsWith("bfloat16") ? { since: 13 } : {}),
        },
        {
          name: `${dtype}, Keras ${kerasVersion}, renorm`,
          options: { dtype, kerasVersion, renorm: true },
          dims: [8, 3],
          single: true,
          ...(dtype.endsWith("bfloat16") ? { since: 13 } : {}),
        },
      ])
    ),
];

/** A layer, a batch and what else it is called with. */
export interface TrainingExample {
  readonly layer: BatchNormalization;
  readonly x: Tensor;
  readonly dy: Tensor;
  readonly mask: Tensor | undefined;
  /** What a graph is fed besides x, dy and variables. */
  readonly extra: Readonly<Record<string, Tensor>>;
}

/** Random values for a case. */
export function trainingExample(
  { options, dims, mask: kind, adjustment, offset = 0 }: TrainingGraphCase,
  next: () => number,
): TrainingExample {
  let pair: readonly [Tensor, Tensor] | undefined;
  const layer = randomLayer(next, {
    ...options,
    ...(adjustment ? { adjustment: () => pair! } : {}),
  }, dims);
  const { compute: type } = layer.options.dtype;
  if (adjustment) {
    pair = [
      randomTensor(next, adjustment[0], { type, low: 0.5, high: 2 }),
      randomTensor(next, adjustment[1], { type, low: -1, high: 1 }),
    ];
  }
  const x = randomTensor(next, dims, {
    type,
    low: offset - 3,
    high: offset + 3,
  });
  const dy = randomTensor(next, dims, { type });
  const positions = dims.slice(0, -1);
  const weights = Array.from({ length: elementCount(positions) }, (_, i) => {
    if (kind === "none") return 0;
    // At least one counts, and one does not.
    if (i < 2) return i;
    return kind === "some" ? Math.round(next()) : Math.round(next() * 4) / 2;
  });
  const mask = kind ? tensor(weights, positions, type) : undefined;
  return {
    layer,
    x,
    dy,
    mask,
    extra: {
      ...(mask ? { mask } : {}),
      ...(pair ? { adjustment_scale: pair[0], adjustment_bias: pair[1] } : {}),
    },
  };
}

/** How far the outputs of a graph may be from the layer's. */
export interface Bounds {
  readonly y: number;
  readonly mean: number;
  readonly variance: number;
  readonly stddev: number;
  readonly dx: number;
  readonly dgamma: number;
  readonly dbeta: number;
}

function largest(...tensors: readonly (Tensor | undefined)[]): number {
  return tensors.reduce(
    (max, each) =>
      each ? widen(each).reduce((m, v) => Math.max(m, Math.abs(v)), max) : max,
    0,
  );
}

/**
 * Bounds of rounding errors, to first order in the unit roundoff u.
 *
 * A sum of n terms in any order is off by less than n * u times the sum of
 * their magnitudes; with the few operations around it, k = (n + 16) * u. With
 * D the largest deviation, Z = D * inverse the largest normalized value and X
 * the largest input:
 *
 * - a deviation is off by k * D from a shifted origin, which itself adds
 *   k * (k * X), and by k * X where the operator takes the mean in one pass
 *   and computes `x * a + b`;
 * - the variance is off by 2 * D * (error of a deviation) + k * D^2, so that
 *   the inverse is off by a share of k * (Z + 1), and a normalized value, with
 *   W its deviation's own error, by k * (W + Z * (Z + 3));
 * - renormalization multiplies by r, off by a share of k * (Z + 3), and adds
 *   d, off by k * T with T the largest shift before clipping;
 * - what is left is products of at most six factors and sums of three terms.
 *
 * Both sides are rounded to the type of the output in the end; that is added
 * by {@linkcode assertWithin}.
 *
 * @param example The layer before its step.
 * @param how Whether BatchNormalization does it, and whether it is inference.
 */
export function boundsOf(
  { layer, x, dy, mask, extra }: TrainingExample,
  { operator = false, inference = !layer.trainable }: {
    operator?: boolean;
    inference?: boolean;
  },
): Bounds {
  const { options, effectiveEpsilon: epsilon } = layer;
  const { virtualBatchSize, dtype } = options;
  const u = dtype.compute === "float64" ? 2 ** -53 : 2 ** -24;
  const { dims } = x;
  const channels = layer.axes!.reduce((n, axis) => n * dims[axis]!, 1);
  const all = elementCount(dims) / channels;
  const k = (all + 16) * u;
  const X = largest(x);
  const values = widen(x);
  const far = mask !== undefined || inference;
  const { mean, m2, count } = layer.moments(x);
  // The mean of any of the elements is among them; that of the moving average
  // need not be, nor 0, which is the mean where a mask leaves nothing.
  const spread = far
    ? X + largest(layer.movingMean)
    : Math.max(...values) - Math.min(...values);
  const D = spread + k * X;
  // The least deviation, of ghost batches and masks too, is not below the
  // epsilon's root; of whole channels it is known.
  const whole = !far && virtualBatchSize === null;
  const least = Math.sqrt(
    (whole ? Math.min(...m2) / count : 0) + epsilon,
  );
  const inverse = 1 / least;
  const Z = D * inverse;
  const W = operator || far ? X * inverse : Z;
  const gamma = largest(layer.gamma) || 1;
  const beta = largest(layer.beta);
  let r = 1;
  let T = 0;
  if (options.renorm && !inference) {
    const known = Math.sqrt(
      Math.max(epsilon, Math.min(...widen(layer.renormStddev!)) ** 2),
    );
    r = (D + Math.sqrt(epsilon)) / known;
    T = (largest(layer.renormMean) + X) / known;
  }
  const scale = extra["adjustment_scale"]
    ? largest(extra["adjustment_scale"])
    : 1;
  const bias = largest(extra["adjustment_bias"]);
  const normalized = k * ((W + Z * (Z + 3)) * r + Z * r * (Z + 3) + T);
  const size = ((Z * r + T) * scale + bias) * gamma + beta;
  const H = largest(dy) * scale;
  // A mask leaves fewer elements to divide the sums by.
  const total = mask ? Math.max(largest(mask), 1) * all : 1;
  const factor = inverse * gamma * r;
  const old = largest(
    layer.movingMean,
    layer.movingVariance,
    layer.movingStddev,
    layer.renormMean,
    layer.renormStddev,
    tensor(mean, [mean.length]),
  );
  const variance = D * D + epsilon;
  return {
    y: normalized * scale * gamma + 8 * u * size,
    mean: k * D + 8 * u * (X + old),
    variance: 4 * k * variance + 8 * u * (2 * variance + old),
    stddev: k * (Z + 2) * Math.sqrt(variance) +
      8 * u * (Math.sqrt(variance) + old),
    // (Z + 4) * (2 + Z^2) of the factor, 2 * Z * (Z^2 + 4 * Z) of xhat, and
    // 2 + Z^2 of the averages: below 16 * (1 + Z)^3.
    dx: 16 * k * factor * H * (1 + Z) ** 3 * total,
    dgamma: all * H * (normalized + k * (Z * r + T)) +
      k * all * largest(dy) * bias,
    dbeta: k * all * largest(dy),
  };
}

const UNIT: Readonly<Record<ElementType, number>> = {
  float32: 2 ** -24,
  float64: 2 ** -53,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/** Asserts a distance; NaN equals NaN, and types and shapes are the same. */
export function assertWithin(
  actual: Tensor | undefined,
  expected: Tensor,
  bound: number,
  what: string,
): void {
  if (!actual) throw new AssertionError(`${what} is missing`);
  assertEquals(actual.type, expected.type, what);
  assertEquals([...actual.dims], [...expected.dims], what);
  const ours = widen(actual);
  const theirs = widen(expected);
  // Below the normal numbers float16 has steps of 2^-24.
  const step = expected.type === "float16" ? 2 ** -24 : 0;
  ours.forEach((value, i) => {
    const other = theirs[i]!;
    if (Object.is(value, other)) return;
    const limit = bound + step + 2 * UNIT[expected.type] * Math.abs(other);
    assert(
      Math.abs(value - other) <= limit,
      `${what}[${i}]: ${value} is not ${other} within ${limit}`,
    );
  });
}

/** A graph in onnxruntime-web, whatever the type of its ends. */
export async function runGraph(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const { bytes, halves } = feedable(model);
  await using reference = await loadReference(bytes);
  const given = Object.fromEntries(
    Object.entries(feeds).map(([name, value]) => [
      name,
      value.type === "bfloat16" ? castTensor(value, "float32") : value,
    ]),
  );
  const outputs = await reference.run(given);
  return Object.fromEntries(
    Object.entries(outputs).map(([name, value]) => {
      if (!halves.has(name)) return [name, value];
      const half = castTensor(value, "bfloat16");
      // The model rounded, not this function.
      assertEquals(widen(half), widen(value));
      return [name, half];
    }),
  );
}

/**
 * A model whose bfloat16 inputs and outputs are float32, which
 * onnxruntime-web can be given, and the names of those outputs.
 */
function feedable(
  model: Uint8Array,
): { bytes: Uint8Array; halves: ReadonlySet<string> } {
  const { FLOAT, BFLOAT16 } = onnx.TensorProto.DataType;
  const message = decode(model);
  const graph = message.graph!;
  const constants = new Set(graph.initializer!.map(({ name }) => name));
  const isHalf = (value: { name?: string | null; type?: unknown }): boolean =>
    !constants.has(value.name ?? "") &&
    (value.type as { tensorType: { elemType: number } }).tensorType
        .elemType === BFLOAT16;
  const inputs = graph.input!.filter(isHalf);
  const outputs = graph.output!.filter(isHalf);
  const halves = new Set(outputs.map(({ name }) => name!));
  if (inputs.length + outputs.length === 0) return { bytes: model, halves };
  const inner = (name: string): string => `${name}_bfloat16`;
  const names = new Set([...inputs, ...outputs].map(({ name }) => name!));
  const rename = (name: string): string => names.has(name) ? inner(name) : name;
  for (const node of graph.node!) {
    node.input = node.input!.map(rename);
    node.output = node.output!.map(rename);
  }
  const cast = (input: string, output: string, to: number) =>
    onnx.NodeProto.create({
      opType: "Cast",
      input: [input],
      output: [output],
      attribute: [{
        name: "to",
        i: to,
        type: onnx.AttributeProto.AttributeType.INT,
      }],
    });
  graph.node = [
    ...inputs.map(({ name }) => cast(name!, inner(name!), BFLOAT16)),
    ...graph.node!,
    ...outputs.map(({ name }) => cast(inner(name!), name!, FLOAT)),
  ];
  for (const { type } of [...inputs, ...outputs]) {
    type!.tensorType!.elemType = FLOAT;
  }
  return { bytes: onnx.ModelProto.encode(message).finish(), halves };
}
