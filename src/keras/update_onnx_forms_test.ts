// Forms that the converters' models do not have: operators, types, opsets and
// places, on models made by hand.

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { OptionError, UnsupportedError } from "../errors.ts";
import { openModel } from "../onnx/open.ts";
import { runReference } from "../onnx/reference.ts";
import {
  makeModel,
  type ModelSpec,
  type NodeSpec,
} from "../onnx/testing/fold_models.ts";
import { random } from "../onnx/testing/layers.ts";
import {
  magnitudeOf,
  magnitudesOf,
  toleranceOf,
} from "../onnx/testing/magnitudes.ts";
import { decode } from "../onnx/testing/onnx_proto.ts";
import { readTensor } from "../onnx/tensor_view.ts";
import { castTensor, type Tensor, tensor, widen } from "../tensor.ts";
import { pairKeras, updateFromKeras } from "./update_onnx.ts";

const next = random(4);

/** Random numbers, as nested lists of a shape. */
function nested(dims: readonly number[]): unknown {
  const [extent, ...rest] = dims;
  return extent === undefined
    ? Math.fround(next() * 2 - 1)
    : Array.from({ length: extent }, () => nested(rest));
}

/** A layer of a Sequential. */
type LayerSpec = readonly [className: string, name: string, config: object];

/** Weights as JSON, and the model's configuration. */
interface Keras {
  readonly bytes: Uint8Array;
  readonly load: { readonly config: { readonly [key: string]: unknown } };
}

function kerasOf(
  layers: readonly LayerSpec[],
  weights: Readonly<Record<string, unknown>>,
): Keras {
  return {
    bytes: new TextEncoder().encode(JSON.stringify(weights)),
    load: {
      config: {
        class_name: "Sequential",
        config: {
          name: "net",
          layers: layers.map(([class_name, name, config]) => ({
            class_name,
            config: { name, trainable: true, ...config },
          })),
        },
      },
    },
  };
}

/** A BatchNormalization's variables. */
function norm(name: string, channels: number): Record<string, unknown> {
  const positive = Array.from(
    { length: channels },
    () => Math.fround(0.5 + next()),
  );
  return {
    [`${name}/gamma`]: nested([channels]),
    [`${name}/beta`]: nested([channels]),
    [`${name}/moving_mean`]: nested([channels]),
    [`${name}/moving_variance`]: positive,
  };
}

function flat(value: unknown): number[] {
  return Array.isArray(value) ? value.flatMap(flat) : [value as number];
}

/** Moves axes of nested lists' numbers. */
function moved(
  value: unknown,
  dims: readonly number[],
  order: number[],
): Tensor {
  const values = flat(value);
  const result: number[] = [];
  const extents = order.map((axis) => dims[axis]!);
  const walk = (index: number[]): void => {
    if (index.length < order.length) {
      for (let i = 0; i < extents[index.length]!; i++) walk([...index, i]);
      return;
    }
    let at = 0;
    dims.forEach((extent, axis) =>
      at = at * extent + index[order.indexOf(axis)]!
    );
    result.push(values[at]!);
  };
  walk([]);
  return tensor(result, extents);
}

function normConstants(
  name: string,
  weights: Readonly<Record<string, unknown>>,
): Record<string, Tensor> {
  const vector = (role: string): Tensor => {
    const values = flat(weights[`${name}/${role}`]);
    return tensor(values, [values.length]);
  };
  return {
    scale: vector("gamma"),
    B: vector("beta"),
    mean: vector("moving_mean"),
    var: vector("moving_variance"),
  };
}

const NORM: NodeSpec = {
  op: "BatchNormalization",
  in: ["sum", "scale", "B", "mean", "var"],
  out: ["y"],
  attributes: { epsilon: 1e-3 },
};

/** One operator with a kernel, that a BatchNormalization is folded into. */
interface KernelCase {
  readonly name: string;
  readonly className: string;
  readonly config: object;
  readonly kernel: string;
  /** Keras' shape of the kernel. */
  readonly dims: readonly number[];
  /** Where ONNX has Keras' axes. */
  readonly order: number[];
  /** ONNX' shape, where axes are joined. */
  readonly shape?: readonly number[];
  readonly node: Pick<NodeSpec, "op" | "attributes">;
  readonly hasBias: boolean;
  readonly input: readonly number[];
  readonly channels: number;
}

const CASES: readonly KernelCase[] = [
  {
    name: "Conv in groups",
    className: "Conv2D",
    config: { groups: 2 },
    kernel: "kernel",
    dims: [2, 3, 2, 4],
    order: [3, 2, 0, 1],
    node: { op: "Conv", attributes: { group: 2 } },
    hasBias: true,
    input: [2, 4, 4, 4],
    channels: 4,
  },
  {
    name: "Conv without bias",
    className: "Conv2D",
    config: { use_bias: false },
    kernel: "kernel",
    dims: [1, 2, 3, 2],
    order: [3, 2, 0, 1],
    node: { op: "Conv" },
    hasBias: false,
    input: [1, 3, 3, 3],
    channels: 2,
  },
  {
    name: "one-dimensional Conv",
    className: "Conv1D",
    config: {},
    kernel: "kernel",
    dims: [3, 2, 5],
    order: [2, 1, 0],
    node: { op: "Conv" },
    hasBias: true,
    input: [1, 2, 6],
    channels: 5,
  },
  {
    name: "three-dimensional Conv",
    className: "Conv3D",
    config: { use_bias: false },
    kernel: "kernel",
    dims: [2, 1, 2, 3, 4],
    order: [4, 3, 0, 1, 2],
    node: { op: "Conv" },
    hasBias: false,
    input: [1, 3, 3, 2, 3],
    channels: 4,
  },
  {
    name: "depthwise Conv with several outputs of each channel",
    className: "DepthwiseConv2D",
    config: { use_bias: false },
    kernel: "depthwise_kernel",
    dims: [2, 2, 3, 2],
    order: [2, 3, 0, 1],
    shape: [6, 1, 2, 2],
    node: { op: "Conv", attributes: { group: 3 } },
    hasBias: false,
    input: [1, 3, 3, 3],
    channels: 6,
  },
  {
    name: "ConvTranspose",
    className: "Conv2DTranspose",
    config: {},
    kernel: "kernel",
    dims: [2, 3, 4, 2],
    order: [3, 2, 0, 1],
    node: { op: "ConvTranspose" },
    hasBias: true,
    input: [1, 2, 2, 2],
    channels: 4,
  },
  {
    name: "Gemm",
    className: "Dense",
    config: {},
    kernel: "kernel",
    dims: [3, 4],
    order: [0, 1],
    node: { op: "Gemm" },
    hasBias: true,
    input: [2, 3],
    channels: 4,
  },
  {
    name: "Gemm with the outputs first",
    className: "Dense",
    config: { use_bias: false },
    kernel: "kernel",
    dims: [3, 4],
    order: [1, 0],
    node: { op: "Gemm", attributes: { transB: 1 } },
    hasBias: false,
    input: [2, 3],
    channels: 4,
  },
  {
    name: "MatMul without an Add",
    className: "Dense",
    config: { use_bias: false },
    kernel: "kernel",
    dims: [3, 4],
    order: [0, 1],
    node: { op: "MatMul" },
    hasBias: false,
    input: [2, 3],
    channels: 4,
  },
];

for (const each of CASES) {
  Deno.test(`folded into ${each.name}: as the two layers one after the other`, async () => {
    const { channels, dims, kernel, hasBias, className, config } = each;
    const weights: Record<string, unknown> = {
      [`conv/${kernel}`]: nested(dims),
      ...(hasBias ? { "conv/bias": nested([channels]) } : {}),
      ...norm("bn", channels),
    };
    const keras = kerasOf([
      [className, "conv", config],
      ["BatchNormalization", "bn", { epsilon: 1e-3 }],
    ], weights);
    const plain = moved(weights[`conv/${kernel}`], dims, each.order);
    const weight = { ...plain, dims: each.shape ?? plain.dims };
    const model = (isOld: boolean): ModelSpec => ({
      nodes: [
        {
          ...each.node,
          in: ["x", "w", ...(hasBias ? ["b"] : [])],
          out: [isOld ? "y" : "sum"],
        },
        ...(isOld ? [] : [NORM]),
      ],
      inputs: { x: each.input },
      outputs: { y: each.input.map((_, i) => `d${i}`) },
      constants: {
        // What was folded before does not matter.
        w: isOld ? tensor(weight.data.map(() => 7), weight.dims) : weight,
        ...(hasBias
          ? {
            b: tensor(
              isOld ? Array(channels).fill(7) : flat(weights["conv/bias"]),
              [channels],
            ),
          }
          : {}),
        ...(isOld ? {} : normConstants("bn", weights)),
      },
    });
    const { bytes, pairs } = await updateFromKeras(
      makeModel(model(true)),
      keras.bytes,
      { load: keras.load },
    );
    assertEquals(pairs.map(({ form, by }) => [form, by]), [[
      "folded",
      "order",
    ]]);
    const both = makeModel(model(false));
    const count = each.input.reduce((product, extent) => product * extent, 1);
    const x = tensor(Array.from({ length: count }, next), each.input);
    const { y: actual } = await runReference(bytes, { x });
    const { y: expected } = await runReference(both, { x });
    const { y: sums } = await runReference(magnitudesOf(both), {
      x: magnitudeOf(x),
    });
    const tolerance = toleranceOf(both, "float32");
    assertEquals(actual!.dims, expected!.dims);
    actual!.data.forEach((value, i) =>
      assert(
        Math.abs(Number(value) - Number(expected!.data[i])) <=
          tolerance * Number(sums!.data[i]),
        `${i}: ${value} and ${expected!.data[i]}`,
      )
    );
  });
}

/** A Mul of three channels, and perhaps an Add. */
function scaling(
  constants: ModelSpec["constants"],
  hasAdd: boolean,
): ModelSpec {
  return {
    nodes: [
      { op: "Mul", in: ["x", "factor"], out: [hasAdd ? "product" : "y"] },
      ...(hasAdd
        ? [{ op: "Add", in: ["summand", "product"], out: ["y"] }]
        : []),
    ],
    inputs: { x: [2, 3] },
    outputs: { y: [2, 3] },
    ...(constants ? { constants } : {}),
  };
}

function threeChannels(): { keras: Keras; a: Float64Array; b: Float64Array } {
  const weights = norm("bn", 3);
  const keras = kerasOf([["BatchNormalization", "bn", { epsilon: 1e-3 }]], {
    ...weights,
  });
  const { scale, B, mean, var: variance } = normConstants("bn", weights);
  const a = widen(scale!).map((g, c) =>
    g / Math.sqrt(Number(variance!.data[c]) + 1e-3)
  );
  const b = widen(B!).map((each, c) => each - Number(mean!.data[c]) * a[c]!);
  return { keras, a, b };
}

for (const type of ["float32", "float64", "float16", "bfloat16"] as const) {
  Deno.test(`Mul and Add of ${type}: computed in float64, rounded once`, async () => {
    const { keras, a, b } = threeChannels();
    const old = tensor([7, 7, 7], [3], type);
    const model = makeModel(scaling({ factor: old, summand: old }, true));
    const { bytes } = await updateFromKeras(model, keras.bytes, {
      load: keras.load,
    });
    const { view } = openModel(bytes, undefined);
    const read = (name: string) =>
      readTensor(view.graph.initializers.get(name)!);
    const expected = (values: Float64Array) =>
      castTensor({ type: "float64", dims: [3], data: values }, type).data;
    assertEquals(read("factor").data, expected(a));
    assertEquals(read("summand").data, expected(b));
    assertEquals(bytes.length, model.length);
  });
}

Deno.test("what is beyond a type is refused", async () => {
  const weights = {
    ...norm("bn", 3),
    "bn/gamma": [1e6, 1, 1],
  };
  const keras = kerasOf([["BatchNormalization", "bn", {}]], weights);
  const factor = tensor([1, 1, 1], [3], "float16");
  const model = makeModel(scaling({ factor }, false));
  await assertRejects(
    () => updateFromKeras(model, keras.bytes, { load: keras.load }),
    UnsupportedError,
    'the factor of "n_y" from layer "bn": its new values are not finite in float16',
  );
});

Deno.test("the Add that is put in broadcasts as the Mul does", async () => {
  const { keras, a, b } = threeChannels();
  const spec = scaling({ factor: tensor([7, 7, 7], [3]) }, false);
  const [mul] = spec.nodes;
  const old: ModelSpec = {
    ...spec,
    nodes: [{ ...mul!, attributes: { broadcast: 1, axis: 1 } }],
    opset: 6,
    irVersion: 3,
  };
  const { bytes } = await updateFromKeras(makeModel(old), keras.bytes, {
    load: keras.load,
  });
  const { node, initializer } = decode(bytes).graph!;
  // The format's version 3 has no initializers that are not inputs.
  assertEquals(node!.map(({ opType }) => opType), ["Constant", "Mul", "Add"]);
  assertEquals(initializer!.length, 1);
  const [constant, , add] = node!;
  assertEquals(
    add!.attribute!.map(({ name, i }) => [name, Number(i)]),
    [["broadcast", 1], ["axis", 1]],
  );
  assertEquals(add!.output, ["y"]);
  assertEquals(node![1]!.output, [add!.input![0]]);
  const { rawData } = constant!.attribute![0]!.t!;
  assertEquals(
    new Float32Array(Uint8Array.from(rawData!).buffer),
    Float32Array.from(b),
  );
  const { view } = openModel(bytes, undefined);
  assertEquals(
    readTensor(view.graph.initializers.get("factor")!).data,
    Float32Array.from(a),
  );
});

Deno.test("a function's constants", async () => {
  const { keras, a, b } = threeChannels();
  const node = (op: string, inputs: string[], out: string[]): NodeSpec => ({
    op,
    in: inputs,
    out,
  });
  const model = makeModel({
    nodes: [{ ...node("Block", ["x", "factor"], ["y"]), domain: "local" }],
    inputs: { x: [2, 3] },
    outputs: { y: [2, 3] },
    constants: { factor: tensor([7, 7, 7], [3]) },
    functions: [{
      name: "Block",
      inputs: ["in", "by"],
      outputs: ["out"],
      nodes: [node("Mul", ["in", "by"], ["out"])],
    }],
  });
  const { bytes, pairs } = await updateFromKeras(model, keras.bytes, {
    load: keras.load,
    map: { bn: "Block/out" },
  });
  assertEquals(pairs[0]!.nodes, ["Block/n_out"]);
  const x = tensor([1, 2, 3, -1, 0, 2], [2, 3]);
  const { y } = await runReference(bytes, { x });
  const expected = x.data.map((value, i) => value * a[i % 3]! + b[i % 3]!);
  y!.data.forEach((value, i) => {
    const [factor, summand] = [a[i % 3]!, b[i % 3]!];
    const size = Math.abs(Number(x.data[i]) * factor) + Math.abs(summand);
    // Two constants, a product and a sum.
    assert(Math.abs(value - expected[i]!) <= 4 * 2 ** -23 * size);
  });
});

Deno.test("elements in other files come in, and others stay there", async () => {
  const { keras, a } = threeChannels();
  const message = decode(
    makeModel(scaling({
      factor: tensor([7, 7, 7], [3]),
      summand: tensor([7, 7, 7], [3]),
    }, true)),
  );
  const file = new Uint8Array(24);
  for (const [i, each] of message.graph!.initializer!.entries()) {
    file.set(each.rawData!, 12 * i);
    each.rawData = new Uint8Array();
    each.dataLocation = 1;
    each.externalData = [
      { key: "location", value: "weights.bin" },
      { key: "offset", value: String(12 * i) },
    ];
  }
  const { onnx } = await import("../onnx/testing/onnx_proto.ts");
  const model = new Uint8Array(onnx.ModelProto.encode(message).finish());
  await assertRejects(
    () => updateFromKeras(model, keras.bytes, { load: keras.load }),
    Error,
    "weights.bin",
  );
  const { bytes } = await updateFromKeras(model, keras.bytes, {
    load: keras.load,
    externalData: new Map([["weights.bin", file]]),
  });
  const { view } = openModel(bytes, undefined);
  assertEquals(
    readTensor(view.graph.initializers.get("factor")!).data,
    Float32Array.from(a),
  );
});

// ---- a layer in two places

function twice(): Keras & { readonly weights: Record<string, unknown> } {
  const weights = norm("bn", 3);
  const inbound = (
    ...names: string[]
  ) => [names.map((name) => [name, 0, 0, {}])];
  const { bytes } = kerasOf([], weights);
  return {
    weights,
    bytes,
    load: {
      config: {
        class_name: "Functional",
        config: {
          name: "net",
          layers: [
            { class_name: "InputLayer", name: "x", config: { name: "x" } },
            {
              class_name: "BatchNormalization",
              name: "bn",
              config: { name: "bn", trainable: true, axis: [1] },
              inbound_nodes: [[["x", 0, 0, {}]], [["relu", 0, 0, {}]]],
            },
            {
              class_name: "ReLU",
              name: "relu",
              config: { name: "relu", trainable: true },
              inbound_nodes: inbound("bn"),
            },
          ],
          input_layers: [["x", 0, 0]],
          output_layers: [["bn", 1, 0]],
        },
      },
    },
  };
}

Deno.test("a layer that the model uses twice is written twice", async () => {
  const keras = twice();
  const vectors = ["scale", "B", "mean", "var"];
  const node = (input: string, out: string, prefix: string): NodeSpec => ({
    ...NORM,
    in: [input, ...vectors.map((name) => prefix + name)],
    out: [out],
  });
  const model = makeModel({
    nodes: [
      node("x", "first", "a_"),
      { op: "Relu", in: ["first"], out: ["relu"] },
      node("relu", "y", "b_"),
    ],
    inputs: { x: [2, 3] },
    outputs: { y: [2, 3] },
    constants: Object.fromEntries(
      ["a_", "b_"].flatMap((prefix) =>
        vectors.map((name) => [prefix + name, tensor([7, 7, 7], [3])])
      ),
    ),
  });
  const { load } = keras;
  const { bytes, pairs } = await updateFromKeras(model, keras.bytes, { load });
  assertEquals(pairs.map(({ layer, nodes }) => [layer, ...nodes]), [
    ["bn", "n_first"],
    ["bn", "n_y"],
  ]);
  const { nodes } = openModel(bytes, undefined);
  for (const { parameters } of nodes) {
    assertEquals(
      Array.from(parameters.mean.tensor!.data),
      keras.weights["bn/moving_mean"],
    );
  }
  const mapped = await updateFromKeras(model, keras.bytes, {
    load,
    map: { bn: ["y", "first"] },
  });
  assertEquals(mapped.bytes, bytes);
  await assertRejects(
    () => updateFromKeras(model, keras.bytes, { load, map: { bn: "y" } }),
    OptionError,
    "expected 2 nodes, as often as the model uses it, got 1",
  );
});

Deno.test("a layer whose second place is not found is not written once", async () => {
  const keras = twice();
  const model = makeModel({
    nodes: [{ ...NORM, in: ["x", ...NORM.in.slice(1)] }],
    inputs: { x: [2, 3] },
    outputs: { y: [2, 3] },
    constants: Object.fromEntries(
      ["scale", "B", "mean", "var"].map((name) => [
        name,
        tensor([7, 7, 7], [3]),
      ]),
    ),
  });
  const { unpaired } = await pairKeras(model, keras.bytes, {
    load: keras.load,
  });
  assertEquals(unpaired.length, 2);
  assertMatch(unpaired[0]!.reason, /it could be "n_y"|no BatchNormalization/);
});

// ---- several axes

/** Weights of a layer over several axes, each value another one. */
function severalAxes(dims: readonly number[], axis: number[]): Keras {
  const positive = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(positive)
      : Math.abs(value as number) + 0.5;
  return kerasOf([["BatchNormalization", "bn", { axis, epsilon: 1e-3 }]], {
    "bn/gamma": nested(dims),
    "bn/beta": nested(dims),
    "bn/moving_mean": nested(dims),
    "bn/moving_variance": positive(nested(dims)),
  });
}

function constantsOf(bytes: Uint8Array): Float64Array[] {
  const { view } = openModel(bytes, undefined);
  return ["factor", "summand"].map((name) =>
    widen(readTensor(view.graph.initializers.get(name)!) as Tensor)
  );
}

/** A model whose constants have a shape. */
function shaped(dims: readonly number[]): Uint8Array {
  const count = dims.reduce((product, extent) => product * extent, 1);
  const old = tensor(Array<number>(count).fill(7), dims);
  return makeModel(scaling({ factor: old, summand: old }, true));
}

Deno.test("several axes, moved by the converter", async () => {
  const keras = severalAxes([1, 4, 1, 2], [1, 3]);
  const { load } = keras;
  const last = await updateFromKeras(shaped([1, 4, 1, 2]), keras.bytes, {
    load,
  });
  const first = await updateFromKeras(shaped([1, 2, 4, 1]), keras.bytes, {
    load,
  });
  const [theirs, ours] = [constantsOf(last.bytes), constantsOf(first.bytes)];
  theirs.forEach((values, i) => {
    assertEquals(new Set(values).size, 8);
    for (let row = 0; row < 4; row++) {
      for (let column = 0; column < 2; column++) {
        assertEquals(ours[i]![column * 4 + row], values[row * 2 + column]);
      }
    }
  });
  // No order of its axes makes these.
  for (const dims of [[8], [1, 8, 1, 1], [1, 2, 1, 4]]) {
    const { unpaired } = await pairKeras(shaped(dims), keras.bytes, { load });
    assertEquals(unpaired.length, 1);
  }
});

Deno.test("several axes of one extent: only values tell their order", async () => {
  const keras = severalAxes([1, 2, 2, 2], [1, 2, 3]);
  const { load } = keras;
  const model = shaped([1, 2, 2, 2]);
  const { unpaired } = await pairKeras(model, keras.bytes, { load });
  assertMatch(unpaired[0]!.reason, /its axes in several orders/);

  // A model that has them in the order of channels first.
  const other = severalAxes([1, 2, 2, 3], [1, 2, 3]);
  const moved = await updateFromKeras(shaped([1, 3, 2, 2]), other.bytes, {
    load: other.load,
  });
  assertEquals(moved.pairs.length, 1);

  const inOrder = await updateFromKeras(
    makeModel(scaling({ ...valuesOf(keras, [0, 1, 2, 3]) }, true)),
    keras.bytes,
    { load, was: keras.bytes },
  );
  const channelsFirst = await updateFromKeras(
    makeModel(scaling({ ...valuesOf(keras, [0, 3, 1, 2]) }, true)),
    keras.bytes,
    { load, was: keras.bytes },
  );
  const [plain, first] = [inOrder, channelsFirst].map(({ bytes }) =>
    constantsOf(bytes)[0]!
  );
  assert(plain!.join() !== first!.join());
  for (let i = 0; i < 8; i++) {
    const [h, w, c] = [i >> 2, i >> 1 & 1, i & 1];
    assertEquals(first![c * 4 + h * 2 + w], plain![i]);
  }
});

/** What a converter would write of a layer, its axes in an order. */
function valuesOf(
  { bytes }: Keras,
  order: number[],
): { factor: Tensor; summand: Tensor } {
  const weights = JSON.parse(new TextDecoder().decode(bytes));
  const dims = [1, 2, 2, 2];
  const [gamma, beta, mean, variance] = [
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
  ].map((role) => moved(weights[`bn/${role}`], dims, order).data);
  const a = Array.from(
    gamma!,
    (g, i) => g / Math.sqrt(Number(variance![i]) + 1e-3),
  );
  const b = a.map((each, i) => Number(beta![i]) - Number(mean![i]) * each);
  return { factor: tensor(a, dims), summand: tensor(b, dims) };
}
