/**
 * BatchNormalization of every opset, in inference and in training.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @module
 */

import { foldStatistics } from "../../kernels/coefficients.ts";
import { type Layout, layoutOf } from "../../kernels/layout.ts";
import type { Parameters } from "../../kernels/types.ts";
import type { OnnxData } from "../../onnx/element_types.ts";
import {
  IS_TEST_REMOVAL_OPSET,
  SPATIAL_REMOVAL_OPSET,
  TRAINING_MODE_OPSET,
} from "../../onnx/versions.ts";
import type { ElementType, TensorData } from "../../tensor.ts";
import { isFloat, isHalf, type Spec } from "../values.ts";
import { decodeHalf, encodeHalf } from "./half.ts";
import {
  type Affine,
  failFormat,
  failShape,
  type Inputs,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
  type Run,
  type Specialize,
} from "./operator.ts";

/** What a node's attributes and outputs say. */
interface Settings {
  readonly epsilon: number;
  readonly momentum: number;
  readonly training: boolean;
  /** False for statistics of each element of a sample (opsets 1 to 8). */
  readonly spatial: boolean;
}

/** The outputs: y, running mean and variance, and before opset 14 the batch's. */
const RUNNING_MEAN = 1;
const RUNNING_VARIANCE = 2;
const SAVED_MEAN = 3;
const SAVED_INVERSE = 4;

const VECTORS = ["scale", "B", "mean", "var"];

function readSettings(node: OperatorNode): Settings {
  const { attributes, opset, outputs } = node;
  const extra = outputs.slice(1).some((present) => present);
  let training = extra;
  if (opset < IS_TEST_REMOVAL_OPSET) {
    training = !attributes.flag("is_test", false);
  } else if (opset >= TRAINING_MODE_OPSET) {
    training = attributes.flag("training_mode", false);
    if (outputs.length > 3) {
      failFormat(node, `expected at most 3 outputs, got ${outputs.length}`);
    }
  }
  if (extra && !training) {
    failFormat(node, "it has outputs that only training has");
  }
  return {
    epsilon: attributes.float("epsilon", Math.fround(1e-5)),
    momentum: attributes.float("momentum", Math.fround(0.9)),
    training,
    spatial: opset >= SPATIAL_REMOVAL_OPSET || attributes.flag("spatial", true),
  };
}

/** The axes that share no statistics, for inputs of a rank. */
function keptAxes(
  rank: number,
  spatial: boolean,
  channelAxis: number,
): number[] {
  if (!spatial) return Array.from({ length: rank - 1 }, (_, d) => d + 1);
  return rank === 1 ? [] : [channelAxis];
}

/** The types of one precision: float64 for float64, float32 for all others. */
function vectorOf(spec: Spec, double: boolean): (data: OnnxData) => Parameters {
  const { type } = spec;
  if (type === (double ? "float64" : "float32")) {
    return (data) => data as Parameters;
  }
  return (data) => {
    const target = new (double ? Float64Array : Float32Array)(data.length);
    if (isHalf(type)) decodeHalf(type, data, target);
    else target.set(data as Parameters);
    return target;
  };
}

/**
 * What a node does, with its channels at any axis: a node between two
 * Transposes that undo each other needs neither.
 *
 * @param node The node.
 * @param channelAxis Where the channels are; 1 in ONNX.
 * @param rank The rank that the Transposes are for.
 */
export function loadBatchNormalization(
  node: OperatorNode,
  channelAxis = 1,
  rank?: number,
): Specialize {
  const settings = readSettings(node);
  return (inputs) => {
    const x = inputs.get(0);
    if (x.dims.length === 0) {
      failShape(node, "expected an input with a batch, got a number");
    }
    if (rank !== undefined && rank !== x.dims.length) {
      failShape(
        node,
        `expected rank ${rank}, as of the Transpose before it, got [${
          x.dims.join(", ")
        }]`,
      );
    }
    const axes = keptAxes(x.dims.length, settings.spatial, channelAxis);
    const layout = layoutOf(x.dims, axes);
    const vectors = VECTORS.map((name, i) => {
      const spec = inputs.get(i + 1);
      checkVector(node, name, spec, x, axes, layout);
      return spec;
    });
    const all = [x, ...vectors];
    return settings.training
      ? trains(node, settings, layout, all)
      : infers(node, settings, layout, all, inputs);
  };
}

function checkVector(
  node: OperatorNode,
  name: string,
  vector: Spec,
  x: Spec,
  axes: readonly number[],
  layout: Layout,
): void {
  for (const { type } of [x, vector]) {
    if (!isFloat(type)) failFormat(node, `the operator does not take ${type}`);
  }
  const expected = axes.length > 1
    ? axes.map((axis) => x.dims[axis]!)
    : [layout.channels];
  const { dims } = vector;
  const fits = dims.length === expected.length &&
    dims.every((extent, d) => extent === expected[d]);
  if (!fits) {
    failShape(
      node,
      `expected ${name} of [${expected.join(", ")}] for an input of [${
        x.dims.join(", ")
      }], got [${dims.join(", ")}]`,
    );
  }
}

function infers(
  node: OperatorNode,
  { epsilon }: Settings,
  layout: Layout,
  specs: readonly Spec[],
  inputs: Inputs,
): Outcome {
  const { type, dims } = specs[0]!;
  const double = type === "float64";
  const read = specs.map((spec) => vectorOf(spec, double));
  const Vector = double ? Float64Array : Float32Array;
  const a = new Vector(layout.channels);
  const b = new Vector(layout.channels);
  const fold = (data: readonly (OnnxData | undefined)[]): void =>
    foldStatistics(a, b, {
      gamma: read[1]!(data[1]!),
      beta: read[2]!(data[2]!),
      mean: read[3]!(data[3]!),
      variance: read[4]!(data[4]!),
      epsilon,
    });
  const outputs = [{ type, dims }];
  const isConstant = specs.slice(1).every(({ value }) => value !== undefined);
  if (isConstant) fold(specs.map((_, i) => inputs.get(i).value));
  const run: Run = (data, [y]) => {
    if (!isConstant) fold(data);
    node.kernels().affine(
      type as ElementType,
      layout,
      data[0] as TensorData,
      y as TensorData,
      a,
      b,
    );
  };
  const affine: Affine | undefined = isConstant && !isHalf(type)
    ? { input: 0, layout, factors: a, summands: b }
    : undefined;
  return { outputs, run, reuse: [0], affine };
}

/**
 * Training: y from the batch's own moments, and running statistics
 * `old * momentum + batch * (1 - momentum)`, with the population variance.
 * Moments are those of our kernels: float64, rounded once.
 */
function trains(
  node: OperatorNode,
  { epsilon, momentum }: Settings,
  layout: Layout,
  specs: readonly Spec[],
): Outcome {
  const { type, dims } = specs[0]!;
  const read = specs.map((spec) => vectorOf(spec, true));
  const { channels, reduced } = layout;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  const inverse = new Float64Array(channels);
  const factor = new Float64Array(channels);
  const vector = (index: number): Spec => ({
    type: specs[index]!.type,
    dims: specs[index]!.dims,
  });
  const outputs: readonly Spec[] = [
    { type, dims },
    vector(3),
    vector(4),
    vector(3),
    vector(4),
  ].slice(0, node.outputs.length);
  const old = (data: readonly (OnnxData | undefined)[], index: number) =>
    read[index]!(data[index]!);
  return {
    outputs,
    reuse: [0],
    run(data, results) {
      const kernels = node.kernels();
      const x = data[0] as TensorData;
      kernels.moments(type as ElementType, layout, x, mean, variance);
      const gamma = old(data, 1);
      for (let c = 0; c < channels; c++) {
        // No elements give NaN, as a mean of nothing does in NumPy.
        if (reduced === 0) mean[c] = NaN;
        variance[c] = variance[c]! / reduced;
        inverse[c] = 1 / Math.sqrt(variance[c]! + epsilon);
        factor[c] = inverse[c]! * gamma[c]!;
      }
      const beta = Float64Array.from(old(data, 2));
      const movingMean = old(data, 3);
      const movingVariance = old(data, 4);
      const blend = (before: Parameters, now: Float64Array) =>
        now.map((value, c) => before[c]! * momentum + value * (1 - momentum));
      // Read before the output is written, which may be in the input's place.
      const running = [
        blend(movingMean, mean),
        blend(movingVariance, variance),
      ];
      store(results, RUNNING_MEAN, outputs, running[0]!);
      store(results, RUNNING_VARIANCE, outputs, running[1]!);
      store(results, SAVED_MEAN, outputs, mean);
      store(results, SAVED_INVERSE, outputs, inverse);
      if (results[0]) {
        kernels.normalize(
          type as ElementType,
          layout,
          x,
          results[0] as TensorData,
          mean,
          factor,
          beta,
        );
      }
    },
  };
}

function store(
  results: readonly (OnnxData | undefined)[],
  index: number,
  specs: readonly Spec[],
  values: Float64Array,
): void {
  const target = results[index];
  if (!target) return;
  const { type } = specs[index]!;
  if (isHalf(type)) encodeHalf(type, values, target);
  else (target as Parameters).set(values);
}

const batchNormalization: Operator = {
  since: 1,
  inputs: [5, 5],
  outputs: [1, 5],
  load: (node) => loadBatchNormalization(node),
};

/** The operators. */
export const NORMALIZATIONS: OperatorTable = {
  BatchNormalization: batchNormalization,
};
