// The second promise of the numerics: training's statistics, output and input
// gradient are never further from a float64 oracle than onnxruntime-web's on
// the same data, however large the mean is beside the deviation.

import { assert, assertEquals } from "@std/assert";
import onnxProto from "onnx-proto";
import { KERNELS } from "../kernels/dispatch.ts";
import { loadReference } from "../onnx/reference.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { RandomGenerator } from "./random.ts";

const { onnx } = onnxProto;

const BATCH = 64;
const CHANNELS = 7;
const PLANE = 25;
const DIMS = [BATCH, CHANNELS, PLANE];
const COUNT = BATCH * PLANE;
const EPSILON = Math.fround(1e-3);
const FLOAT = 1;

/** Means as multiples of the deviation: 0, and each power of ten to 1e6. */
const RATIOS = [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6];

interface Data {
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
}

function makeData(ratio: number): Data {
  const random = new RandomGenerator(12, ratio);
  const x = new Float32Array(COUNT * CHANNELS);
  for (let i = 0; i < x.length; i++) {
    const channel = Math.floor(i / PLANE) % CHANNELS;
    const deviation = 2 ** (channel - 3);
    x[i] = deviation * (ratio + random.normal());
  }
  const normals = (length: number) =>
    Float32Array.from({ length }, () => random.normal());
  return {
    x,
    dy: normals(x.length),
    gamma: normals(CHANNELS),
    beta: normals(CHANNELS),
  };
}

interface Results {
  readonly mean: ArrayLike<number>;
  readonly variance: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly dx: ArrayLike<number>;
}

/** Textbook formulas in float64, two passes, on the float32 data. */
function oracle({ x, dy, gamma, beta }: Data): Results {
  const mean = new Float64Array(CHANNELS);
  const variance = new Float64Array(CHANNELS);
  const byDy = new Float64Array(CHANNELS);
  const byProduct = new Float64Array(CHANNELS);
  const channelOf = (i: number) => Math.floor(i / PLANE) % CHANNELS;
  const each = (visit: (i: number, c: number) => void) => {
    for (let i = 0; i < x.length; i++) visit(i, channelOf(i));
  };
  each((i, c) => mean[c]! += x[i]! / COUNT);
  // Once more on the deviations: the first sum's error is below 1e-10 of the
  // deviation then, and its square vanishes.
  const correction = new Float64Array(CHANNELS);
  each((i, c) => correction[c]! += (x[i]! - mean[c]!) / COUNT);
  mean.forEach((_, c) => mean[c]! += correction[c]!);
  each((i, c) => variance[c]! += (x[i]! - mean[c]!) ** 2 / COUNT);
  const inverse = variance.map((v) => 1 / Math.sqrt(v + EPSILON));
  const normalized = (i: number, c: number) => (x[i]! - mean[c]!) * inverse[c]!;
  each((i, c) => {
    byDy[c]! += dy[i]! / COUNT;
    byProduct[c]! += dy[i]! * normalized(i, c) / COUNT;
  });
  const y = new Float64Array(x.length);
  const dx = new Float64Array(x.length);
  each((i, c) => {
    const xhat = normalized(i, c);
    y[i] = xhat * gamma[c]! + beta[c]!;
    dx[i] = gamma[c]! * inverse[c]! *
      (dy[i]! - byDy[c]! - xhat * byProduct[c]!);
  });
  return { mean, variance, y, dx };
}

function ours(data: Data, kernels: "wasm" | "typed-array"): Results {
  const layer = new BatchNormalization({
    axis: 1,
    epsilon: EPSILON,
    momentum: 0,
    kernels,
  });
  layer.setWeights([
    tensor(data.gamma, [CHANNELS]),
    tensor(data.beta, [CHANNELS]),
    tensor(new Float32Array(CHANNELS), [CHANNELS]),
    tensor(new Float32Array(CHANNELS), [CHANNELS]),
  ]);
  const x = tensor(data.x, DIMS);
  const y = layer.call(x, { training: true });
  const { dx } = layer.backward(tensor(data.dy, DIMS));
  const { count, mean, m2 } = layer.moments(x);
  return {
    mean: Float32Array.from(mean),
    variance: Float32Array.from(m2, (v) => v / count),
    y: y.data,
    dx: dx.data,
  };
}

function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: object[] = [],
): object {
  return { opType, input, output, attribute };
}

/**
 * BatchNormalization in training mode, whose running outputs with momentum 0
 * are the batch's own, and the input gradient of primitive operators.
 */
function referenceModel({ gamma, beta }: Data): Uint8Array {
  const initializer = (name: string, values: Float32Array, dims: number[]) => ({
    name,
    dims,
    dataType: FLOAT,
    rawData: new Uint8Array(values.slice().buffer),
  });
  const zeros = new Float32Array(CHANNELS);
  const info = (name: string, dims: number[]) => ({
    name,
    type: {
      tensorType: {
        elemType: FLOAT,
        shape: { dim: dims.map((dimValue) => ({ dimValue })) },
      },
    },
  });
  const axes = [{ name: "axes", type: 7, ints: [0, 2] }];
  return onnx.ModelProto.encode(onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 15 }],
    graph: {
      name: "training",
      input: [info("x", DIMS), info("dy", DIMS)],
      output: [
        info("y", DIMS),
        info("mean", [CHANNELS]),
        info("variance", [CHANNELS]),
        info("dx", DIMS),
      ],
      initializer: [
        initializer("gamma", gamma, [CHANNELS]),
        initializer("beta", beta, [CHANNELS]),
        initializer("zeros", zeros, [CHANNELS]),
        initializer("zeros2", zeros, [CHANNELS]),
        initializer("scale", gamma, [1, CHANNELS, 1]),
        initializer("epsilon", Float32Array.of(EPSILON), [1]),
      ],
      node: [
        node(
          "BatchNormalization",
          ["x", "gamma", "beta", "zeros", "zeros2"],
          ["y", "mean", "variance"],
          [
            { name: "epsilon", type: 1, f: EPSILON },
            { name: "momentum", type: 1, f: 0 },
            { name: "training_mode", type: 2, i: 1 },
          ],
        ),
        node("ReduceMean", ["x"], ["m"], axes),
        node("Sub", ["x", "m"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squares"]),
        node("ReduceMean", ["squares"], ["v"], axes),
        node("Add", ["v", "epsilon"], ["ve"]),
        node("Sqrt", ["ve"], ["deviation"]),
        node("Div", ["centred", "deviation"], ["xhat"]),
        node("ReduceMean", ["dy"], ["byDy"], axes),
        node("Mul", ["dy", "xhat"], ["product"]),
        node("ReduceMean", ["product"], ["byProduct"], axes),
        node("Mul", ["xhat", "byProduct"], ["along"]),
        node("Sub", ["dy", "byDy"], ["shifted"]),
        node("Sub", ["shifted", "along"], ["projected"]),
        node("Div", ["scale", "deviation"], ["factor"]),
        node("Mul", ["projected", "factor"], ["dx"]),
      ],
    },
  })).finish();
}

async function theirs(data: Data): Promise<Results> {
  await using session = await loadReference(referenceModel(data));
  const result = await session.run({
    x: tensor(data.x, DIMS),
    dy: tensor(data.dy, DIMS),
  });
  const values = (name: string) => (result[name] as Tensor).data;
  return {
    mean: values("mean"),
    variance: values("variance"),
    y: values("y"),
    dx: values("dx"),
  };
}

function worst(actual: ArrayLike<number>, exact: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < exact.length; i++) {
    max = Math.max(max, Math.abs(actual[i]! - exact[i]!));
  }
  return max;
}

/** Units in the last place of float32 between a value and the exact one. */
function ulps(actual: number, exact: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(exact))) - 23);
  return Math.abs(actual - exact) / unit;
}

const RESULTS = ["mean", "variance", "y", "dx"] as const;

for (const ratio of RATIOS) {
  Deno.test(`mean ${ratio} times the deviation: never worse than onnxruntime-web`, async () => {
    const data = makeData(ratio);
    const exact = oracle(data);
    const reference = await theirs(data);
    for (const { name } of KERNELS) {
      const found = ours(data, name);
      for (const result of RESULTS) {
        const our = worst(found[result], exact[result]);
        const their = worst(reference[result], exact[result]);
        assert(our <= their, `${name} ${result}: ${our}, theirs ${their}`);
      }
      for (let c = 0; c < CHANNELS; c++) {
        const distance = ulps(found.variance[c]!, exact.variance[c]!);
        assert(distance <= 4, `${name} variance[${c}]: ${distance} ULP`);
      }
    }
  });
}

Deno.test("both kernels give the same bits", () => {
  for (const ratio of RATIOS) {
    const data = makeData(ratio);
    assertEquals(ours(data, "wasm"), ours(data, "typed-array"));
  }
});
