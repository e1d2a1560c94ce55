/**
 * onnxruntime-web as a peer, in one thread.
 *
 * @module
 */

import onnxProto from "onnx-proto";
import * as ort from "onnxruntime-web";
import { type BenchWeights, EPSILON } from "./data.ts";
import { type BenchShape, channelsOf } from "./shapes.ts";

const { onnx } = onnxProto;
const FLOAT = 1;

ort.env.wasm.numThreads = 1;

/** A model in onnxruntime-web, and its feeds. */
export interface OnnxPeer extends AsyncDisposable {
  /** One `session.run`, its outputs read. */
  run(): Promise<Record<string, ort.Tensor>>;
}

interface Graph {
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly outputs: Readonly<Record<string, readonly number[]>>;
  readonly initializers: Readonly<
    Record<string, { dims: readonly number[]; values: Float32Array }>
  >;
  readonly nodes: readonly object[];
}

function encode({ inputs, outputs, initializers, nodes }: Graph): Uint8Array {
  const info = ([name, dims]: [string, readonly number[]]) => ({
    name,
    type: {
      tensorType: {
        elemType: FLOAT,
        shape: { dim: dims.map((dimValue) => ({ dimValue })) },
      },
    },
  });
  return onnx.ModelProto.encode(onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 15 }],
    graph: {
      name: "bench",
      input: Object.entries(inputs).map(info),
      output: Object.entries(outputs).map(info),
      initializer: Object.entries(initializers).map(
        ([name, { dims, values }]) => ({
          name,
          dims: [...dims],
          dataType: FLOAT,
          rawData: new Uint8Array(values.slice().buffer),
        }),
      ),
      node: [...nodes],
    },
  })).finish();
}

function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: object[] = [],
): object {
  return { opType, input, output, attribute };
}

async function startPeer(
  graph: Graph,
  feeds: Readonly<Record<string, Float32Array>>,
): Promise<OnnxPeer> {
  const session = await ort.InferenceSession.create(encode(graph));
  const tensors = Object.fromEntries(
    Object.entries(feeds).map(([name, data]) => [
      name,
      new ort.Tensor("float32", data, graph.inputs[name]!),
    ]),
  );
  return {
    run: () => session.run(tensors) as Promise<Record<string, ort.Tensor>>,
    [Symbol.asyncDispose]: () => session.release(),
  };
}

const epsilon = { name: "epsilon", type: 1, f: EPSILON };

/**
 * The operator, which has its channels at axis 1, so that a channels-last
 * tensor of rank above 2 goes through a Transpose on either side, as in the
 * models that converters write.
 */
function operatorNodes(
  { dims, axis }: BenchShape,
  statistics: readonly string[],
  training: boolean,
): object[] {
  const moved = axis !== 1;
  const rank = dims.length;
  const toFirst = [0, rank - 1, ...dims.slice(2).map((_, d) => d + 1)];
  const toLast = toFirst.map((_, d) => toFirst.indexOf(d));
  const perm = (ints: number[]) => [{ name: "perm", type: 7, ints }];
  return [
    ...moved ? [node("Transpose", ["x"], ["first"], perm(toFirst))] : [],
    node(
      "BatchNormalization",
      [moved ? "first" : "x", "gamma", "beta", "mean", "variance"],
      [moved ? "normalized" : "y", ...statistics],
      training
        ? [epsilon, { name: "training_mode", type: 2, i: 1 }]
        : [epsilon],
    ),
    ...moved ? [node("Transpose", ["normalized"], ["y"], perm(toLast))] : [],
  ];
}

/** One BatchNormalization, in training or not. */
export function startOnnxBatchNormalization(
  { dims, axis }: BenchShape,
  weights: BenchWeights,
  x: Float32Array,
  training: boolean,
): Promise<OnnxPeer> {
  const channels = dims[axis]!;
  const vectors = Object.fromEntries(
    Object.entries(weights).map((
      [name, values]: [string, Float32Array],
    ) => [name, { dims: [channels], values }]),
  );
  const statistics = training ? ["new_mean", "new_variance"] : [];
  return startPeer({
    inputs: { x: dims },
    outputs: {
      y: dims,
      ...Object.fromEntries(statistics.map((name) => [name, [channels]])),
    },
    initializers: vectors,
    nodes: [
      ...operatorNodes({ dims, axis }, statistics, training),
    ],
  }, { x });
}

/**
 * The forward and the backward pass of training: the operator, which has no
 * gradient, and the gradients by input, gamma and beta in primitive operators
 * with nothing computed twice.
 */
export function startOnnxForwardBackward(
  shape: BenchShape,
  { gamma, beta, mean, variance }: BenchWeights,
  x: Float32Array,
  dy: Float32Array,
): Promise<OnnxPeer> {
  const { dims, axis } = shape;
  const channels = channelsOf(shape);
  const reduced = dims.map((_, d) => d).filter((d) => d !== axis);
  const axes = [{ name: "axes", type: 7, ints: reduced }];
  const kept = dims.map((extent, d) => (d === axis ? extent : 1));
  const vector = (values: Float32Array) => ({ dims: [channels], values });
  return startPeer({
    inputs: { x: dims, dy: dims },
    outputs: {
      y: dims,
      new_mean: [channels],
      new_variance: [channels],
      dx: dims,
      dgamma: kept,
      dbeta: kept,
    },
    initializers: {
      gamma: vector(gamma),
      beta: vector(beta),
      mean: vector(mean),
      variance: vector(variance),
      scale: { dims: kept, values: gamma },
      epsilon: { dims: [1], values: Float32Array.of(EPSILON) },
      count: {
        dims: [1],
        values: Float32Array.of(x.length / channels),
      },
    },
    nodes: [
      ...operatorNodes(shape, ["new_mean", "new_variance"], true),
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
      node("Mul", ["byDy", "count"], ["dbeta"]),
      node("Mul", ["byProduct", "count"], ["dgamma"]),
    ],
  }, { x, dy });
}

/**
 * Whether onnxruntime-web starts with more threads here: its own error, or
 * nothing. Asked in a process of its own, since a start that failed, or one
 * that worked, decides for all that follow.
 */
export async function whyNotThreaded(): Promise<string | undefined> {
  const script = `
    import * as ort from "onnxruntime-web";
    ort.env.wasm.numThreads = ${navigator.hardwareConcurrency};
    try {
      await ort.InferenceSession.create(Uint8Array.of(0));
    } catch (error) {
      console.log(String(error));
    }
    Deno.exit();
  `;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    cwd: new URL("../../", import.meta.url),
    stdout: "piped",
    stderr: "null",
  }).output();
  const said = new TextDecoder().decode(stdout).trim();
  // Of a model of one byte it complains in any case, but later.
  return said.includes("no available backend") ? said : undefined;
}
