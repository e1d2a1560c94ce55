/**
 * `createSession` against onnxruntime-web, both on the same bytes.
 *
 * @module
 */

import * as ort from "onnxruntime-web";
import { allocate, buildOnnx, createSession } from "../../mod.ts";
import {
  modelBytes,
  type TestModel,
} from "../../src/session/testing/models.ts";
import { makeLayer, makeValues, makeWeights } from "./data.ts";
// Sets onnxruntime-web to one thread.
import "./onnxruntime.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import { measureRounds, median, ratio, type RoundOptions } from "./rounds.ts";
import { type BenchShape, nameOf } from "./shapes.ts";

/** A model of one input `x` and one output `y` of its shape. */
interface Measured {
  readonly model: Uint8Array;
  readonly x: Float32Array;
  readonly dims: readonly number[];
  /** The extents of the output. */
  readonly outputDims?: readonly number[];
}

/**
 * One row's cells. New outputs against new outputs, given ones against given
 * ones: onnxruntime-web takes a tensor to compute into, too.
 */
async function measure(
  { model, x, dims, outputDims = dims }: Measured,
  options: RoundOptions,
): Promise<string[]> {
  await using ours = await createSession(model);
  const theirs = await ort.InferenceSession.create(model);
  try {
    const feeds = { x: { type: "float32", dims, data: x } as const };
    const peerFeeds = { x: new ort.Tensor("float32", x, dims) };
    const y = new Float32Array(x.length);
    const fetches = {
      y: { type: "float32", dims: outputDims, data: y } as const,
    };
    const peerFetches = {
      y: new ort.Tensor("float32", new Float32Array(x.length), outputDims),
    };
    using hereX = allocate(dims);
    using hereY = allocate(outputDims);
    hereX.data.set(x);
    const [copy, made, fresh, given, here, peerFresh, peerGiven] =
      await measureRounds([
        { name: "copy", run: () => y.set(x) },
        { name: "made", run: () => void x.slice() },
        { name: "fresh", run: async () => void await ours.run(feeds) },
        { name: "given", run: async () => void await ours.run(feeds, fetches) },
        {
          name: "allocated",
          run: async () => void await ours.run({ x: hereX }, { y: hereY }),
        },
        {
          name: "onnxruntime-web, fresh",
          run: async () => void await theirs.run(peerFeeds),
        },
        {
          name: "onnxruntime-web, given",
          run: async () => void await theirs.run(peerFeeds, peerFetches),
        },
      ], options);
    return [
      formatTime(median(given!.rounds)),
      formatRatio(ratio(given!, copy!)),
      formatRatio(ratio(peerGiven!, given!)),
      formatRatio(ratio(here!, copy!)),
      formatRatio(ratio(peerGiven!, here!)),
      formatTime(median(fresh!.rounds)),
      formatRatio(ratio(made!, copy!)),
      formatRatio(ratio(fresh!, copy!)),
      formatRatio(ratio(peerFresh!, fresh!)),
    ];
  } finally {
    await theirs.release();
  }
}

const HEADER = [
  "given",
  "/ copy",
  "ort given / given",
  "WASM memory / copy",
  "ort given / WASM memory",
  "fresh",
  "made / copy",
  "fresh / copy",
  "ort fresh / fresh",
];

const VECTORS = ["gamma", "beta", "mean", "variance"] as const;

/** BatchNormalization and Relu, between Transposes for channels last. */
function chain(shape: BenchShape): Uint8Array {
  const { dims, axis } = shape;
  const weights = makeWeights(shape);
  const rank = dims.length;
  const isMoved = axis !== 1;
  const forth = [0, rank - 1, ...dims.slice(2).map((_, d) => d + 1)];
  const back = forth.map((_, d) => forth.indexOf(d));
  const move = (from: string, to: string, perm: number[]) => ({
    op: "Transpose",
    inputs: [from],
    outputs: [to],
    attributes: { perm },
  });
  const model: TestModel = {
    nodes: [
      ...isMoved ? [move("x", "first", forth)] : [],
      {
        op: "BatchNormalization",
        inputs: [isMoved ? "first" : "x", ...VECTORS],
        outputs: ["normalized"],
        attributes: { epsilon: { f: 1e-3 } },
      },
      {
        op: "Relu",
        inputs: ["normalized"],
        outputs: [isMoved ? "last" : "y"],
      },
      ...isMoved ? [move("last", "y", back)] : [],
    ],
    inputs: { x: { type: "float32", dims } },
    outputs: ["y"],
    initializers: Object.fromEntries(
      VECTORS.map((name) => [name, {
        type: "float32",
        dims: [dims[axis]!],
        data: weights[name],
      }]),
    ),
  };
  return modelBytes(model);
}

/** The models of a shape. */
function modelsOf(shape: BenchShape): [name: string, model: Uint8Array][] {
  const layer = makeLayer(shape, makeWeights(shape), "typed-array");
  const inputShape = shape.dims;
  const isMoved = shape.axis !== 1;
  return [
    [
      isMoved ? "Transpose, BN, Transpose" : "BN",
      buildOnnx(layer, { inputShape }),
    ],
    ...isMoved
      ? [["Mul, Add", buildOnnx(layer, { inputShape, form: "affine" })] as [
        string,
        Uint8Array,
      ]]
      : [],
    [isMoved ? "Transpose, BN, Relu, Transpose" : "BN, Relu", chain(shape)],
  ];
}

/** Whole runs of models of BatchNormalization. */
export async function sessionSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) {
    const { dims } = shape;
    const x = makeValues(shape, 1);
    for (const [name, model] of modelsOf(shape)) {
      rows.push([
        nameOf(shape),
        name,
        ...await measure({ model, x, dims }, options),
      ]);
    }
  }
  return {
    title: "Sessions",
    notes: [
      "`session.run` of `createSession` and of onnxruntime-web on the same bytes and feeds (ordinary arrays),",
      "with tensors to compute into given in `fetches`, and without; ours also with both in WASM memory (from",
      "`allocate`), which onnxruntime-web does not offer. `copy` is a memory copy into an array that is there,",
      "`made` one into a new array: what the system takes for giving and clearing its pages.",
    ],
    header: ["shape", "model", ...HEADER],
    rows,
  };
}

type Nodes = TestModel["nodes"];

const one = (op: string): Nodes => [{ op, inputs: ["x"], outputs: ["y"] }];
const two = (op: string, second: string): Nodes => [
  { op, inputs: ["x", second], outputs: ["y"] },
];
const moved = (perm: number[]): Nodes => [
  { op: "Transpose", inputs: ["x"], outputs: ["y"], attributes: { perm } },
];

/** Operators on a tensor of four dimensions; `c` is of its channels at axis 1. */
const OPERATORS: Readonly<Record<string, Nodes>> = {
  "Relu": one("Relu"),
  "LeakyRelu": one("LeakyRelu"),
  "Clip": two("Clip", "zero"),
  "Sigmoid": one("Sigmoid"),
  "Tanh": one("Tanh"),
  "Exp": one("Exp"),
  "Log": one("Log"),
  "Abs": one("Abs"),
  "Neg": one("Neg"),
  "Sqrt": one("Sqrt"),
  "Reciprocal": one("Reciprocal"),
  "Floor": one("Floor"),
  "Ceil": one("Ceil"),
  "Round": one("Round"),
  "Sign": one("Sign"),
  "Add, of itself": two("Add", "x"),
  "Add, of channels": two("Add", "c"),
  "Mul, of itself": two("Mul", "x"),
  "Mul, of channels": two("Mul", "c"),
  "Sub, of itself": two("Sub", "x"),
  "Div, of itself": two("Div", "x"),
  "Div, of channels": two("Div", "c"),
  "Max, of itself": two("Max", "x"),
  "Max, of channels": two("Max", "c"),
  "Pow, of itself": two("Pow", "x"),
  "Pow, squares": two("Pow", "square"),
  "Transpose, to last": moved([0, 2, 3, 1]),
  "Transpose, to first": moved([0, 3, 1, 2]),
  "Transpose, reversed": moved([3, 2, 1, 0]),
  "Transpose, axes swapped": moved([1, 0, 2, 3]),
  "Concat": [{
    op: "Concat",
    inputs: ["x"],
    outputs: ["y"],
    attributes: { axis: 1 },
  }],
  "Expand": two("Expand", "extents"),
};

/** Single operators. */
export async function operatorSection(
  shape: BenchShape,
  options: RoundOptions,
): Promise<Section> {
  const { dims } = shape;
  const x = makeValues(shape, 1);
  const rows: string[][] = [];
  const number = (value: number) =>
    ({ type: "float32", dims: [], data: Float32Array.of(value) }) as const;
  const constants: TestModel["initializers"] = {
    zero: number(0),
    square: number(2),
    c: {
      type: "float32",
      dims: [dims[1]!, 1, 1],
      data: makeWeights({ dims, axis: 1 }).variance,
    },
    extents: {
      type: "int64",
      dims: [dims.length],
      data: BigInt64Array.from(dims, BigInt),
    },
  };
  for (const [name, nodes] of Object.entries(OPERATORS)) {
    const { inputs, attributes } = nodes[0]!;
    const perm = attributes?.perm as number[] | undefined;
    const model = modelBytes({
      nodes,
      inputs: { x: { type: "float32", dims } },
      outputs: ["y"],
      // onnxruntime complains of those that are not used.
      initializers: Object.fromEntries(
        Object.entries(constants).filter(([name]) => inputs.includes(name)),
      ),
    });
    const outputDims = perm ? perm.map((d) => dims[d]!) : dims;
    rows.push([
      name,
      ...await measure({ model, x, dims, outputDims }, options),
    ]);
  }
  return {
    title: `Single operators on ${nameOf(shape)}`,
    notes: [
      "Models of one node, run as above.",
    ],
    header: ["operator", ...HEADER],
    rows,
  };
}
