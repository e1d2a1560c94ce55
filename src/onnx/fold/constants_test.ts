import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  castTensor,
  type ElementType,
  type Tensor,
  tensor,
  tensorLike,
  widen,
} from "../../tensor.ts";
import { externalDataOf } from "../external_data.ts";
import { foldNodes } from "./fold.ts";
import { openModel } from "../open.ts";
import { assertFolds, assertSame, fold } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  makeModel,
  type ModelSpec,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random, randomTensor } from "../testing/layers.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";
import { readTensor } from "../tensor_view.ts";
import { viewModel } from "../view.ts";

function gemm(x: string, w: string, y: string, ...rest: string[]): NodeSpec {
  return { op: "Gemm", in: [x, w, ...rest], out: [y] };
}

/** Two Gemms, each with a BatchNormalization, that share what is given. */
function pair(
  next: () => number,
  weights: readonly [string, string],
  rest: Partial<ModelSpec> = {},
): ModelSpec {
  return {
    nodes: [
      gemm("x", weights[0], "c"),
      bnNode("c", "y"),
      gemm("x", weights[1], "d"),
      bnNode("d", "z"),
    ],
    constants: {
      w: randomTensor(next, [5, 3]),
      ...bnConstants("y", 3, next),
      ...bnConstants("z", 3, next),
    },
    inputs: { x: ["n", 5] },
    outputs: { y: ["n", 3], z: ["n", 3] },
    ...rest,
  };
}

function one(next: () => number, rest: Partial<ModelSpec> = {}): ModelSpec {
  const { nodes, constants, inputs } = pair(next, ["w", "w"]);
  return {
    nodes: nodes.slice(0, 2),
    constants: Object.fromEntries(
      Object.entries(constants!).filter(([name]) => !name.startsWith("z_")),
    ),
    inputs: inputs!,
    outputs: { y: ["n", 3] },
    ...rest,
  };
}

function names(list: readonly { name?: string | null }[]): string[] {
  return list.map(({ name }) => name!).sort();
}

Deno.test("fold: a weight that two share is split between them", async () => {
  const next = random(1);
  const { bytes, folded } = await assertFolds(pair(next, ["w", "w"]), next);
  assertEquals(folded.map(({ copied }) => copied), [
    [],
    ['initializer "w"'],
  ]);
  assertEquals(names(decode(bytes).graph!.initializer!), [
    "n_c/bias",
    "n_d/bias",
    "n_d/weight",
    "w",
  ]);
});

Deno.test("fold: a weight that another node reads stays as it is for that one", async () => {
  const next = random(2);
  const base = one(next);
  const { bytes, folded } = await assertFolds({
    ...base,
    nodes: [...base.nodes, gemm("x", "w", "z")],
    outputs: { y: ["n", 3], z: ["n", 3] },
  }, next);
  assertEquals(folded[0]!.copied, ['initializer "w"']);
  const { node } = decode(bytes).graph!;
  assertEquals(node!.map(({ input }) => input![1]), ["n_c/weight", "w"]);
});

Deno.test("fold: parameters that a kept node reads too stay", async () => {
  const next = random(3);
  const base = one(next);
  const { bytes } = await assertFolds({
    ...base,
    nodes: [
      ...base.nodes,
      { op: "Relu", in: ["y"], out: ["r"] },
      { ...bnNode("r", "y"), out: ["z"] },
    ],
    outputs: { z: ["n", 3] },
  }, next);
  assertEquals(names(decode(bytes).graph!.initializer!), [
    "n_c/bias",
    "w",
    "y_B",
    "y_mean",
    "y_scale",
    "y_var",
  ]);
});

Deno.test("fold: one constant for a Gemm's bias and for beta is no obstacle", async () => {
  const next = random(4);
  const base = one(next);
  const { bytes } = await assertFolds({
    ...base,
    nodes: [gemm("x", "w", "c", "y_B"), base.nodes[1]!],
  }, next);
  assertEquals(names(decode(bytes).graph!.initializer!), ["n_c/bias", "w"]);
});

Deno.test("fold: Constant nodes, through Identity; those without readers go", async () => {
  const next = random(5);
  const base = one(next, { valueInfo: { w: [5, 3], y_B: [3] } });
  const constants = Object.entries(base.constants!).flatMap((
    [name, value],
  ): NodeSpec[] => [
    { op: "Constant", in: [], out: [`${name}_c`], attributes: { value } },
    { op: "Identity", in: [`${name}_c`], out: [name] },
  ]);
  const model = makeModel({
    ...base,
    nodes: [...constants, ...base.nodes],
    constants: {},
  });
  const { bytes, folded } = fold(model);
  assertEquals(folded.length, 1);
  const { node, valueInfo } = decode(bytes).graph!;
  assertEquals(node!.map(({ opType }) => opType), [
    "Constant",
    "Identity",
    "Gemm",
  ]);
  assertEquals(names(valueInfo!), ["w"]);
  await assertSame(model, bytes, { x: randomTensor(next, [4, 5]) });
});

Deno.test("fold: before version 4 of the format, constants are inputs too", async () => {
  const next = random(6);
  const base = one(next, { irVersion: 3, opset: 8 });
  const shapes = Object.fromEntries(
    Object.entries(base.constants!).map(([name, value]) =>
      [name, (value as Tensor).dims] as const
    ),
  );
  const withBias = { ...base.constants, v: randomTensor(next, [3]) };
  const { bytes } = await assertFolds({
    ...base,
    nodes: [gemm("x", "w", "c", "v"), base.nodes[1]!],
    constants: withBias,
    inputs: { ...base.inputs, ...shapes, v: [3] },
  }, next);
  const { input, initializer } = decode(bytes).graph!;
  assertEquals(names(input!), ["v", "w", "x"]);
  assertEquals(names(initializer!), ["v", "w"]);
});

Deno.test("fold: since version 4, a constant that a caller may feed is none", () => {
  const next = random(7);
  const reasonOf = (name: string, dims: readonly number[]): string => {
    const base = one(next);
    const inputs = { ...base.inputs, [name]: dims };
    const { kept, folded } = fold(makeModel({ ...base, inputs }));
    assertEquals(folded, []);
    return kept[0]!.reason;
  };
  assertMatch(
    reasonOf("w", [5, 3]),
    /^Gemm "n_c" has no constant weight: initializer "w", which is also a graph input: a caller may feed another/,
  );
  assertMatch(reasonOf("y_mean", [3]), /^dynamic mean: .* a caller may feed/);
});

Deno.test("fold: elements of another file come into the model", async () => {
  const next = random(8);
  const spec = one(next);
  const inside = makeModel(spec);
  const message = decode(inside);
  const file = new Uint8Array(1024);
  let offset = 0;
  for (const each of message.graph!.initializer!) {
    const bytes = each.rawData!;
    file.set(bytes, offset);
    each.externalData = [
      { key: "location", value: "weights.bin" },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(bytes.length) },
    ];
    each.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
    each.rawData = new Uint8Array();
    offset += bytes.length;
  }
  const model = new Uint8Array(onnx.ModelProto.encode(message).finish());
  const external = externalDataOf(new Map([["weights.bin", file]]));
  const { bytes, folded } = foldNodes(openModel(model, external));
  assertEquals(folded.length, 1);
  await assertSame(inside, bytes, { x: randomTensor(next, [4, 5]) });

  const { kept } = foldNodes(openModel(model, undefined));
  assertMatch(kept[0]!.reason, /externalData/);
});

/** The elements of an initializer of a file. */
function initializer(bytes: Uint8Array, name: string): Tensor {
  const view = viewModel(bytes).graph.initializers.get(name)!;
  return readTensor(view) as Tensor;
}

for (
  const type of [
    "float32",
    "float64",
    "float16",
    "bfloat16",
  ] as const satisfies readonly ElementType[]
) {
  Deno.test(`fold: ${type} constants are rounded once, from float64`, () => {
    const next = random(9);
    const w = randomTensor(next, [5, 3], { type });
    const v = randomTensor(next, [3], { type });
    // The parameters may be of another type.
    const bn = bnConstants("y", 3, next);
    const model = makeModel({
      ...one(next),
      nodes: [gemm("x", "w", "c", "v"), bnNode("c", "y")],
      constants: { w, v, ...bn },
    });
    const { bytes } = fold(model);
    const [gamma, beta, mean, variance] = ["scale", "B", "mean", "var"].map(
      (role) => widen(bn[`y_${role}`]!),
    );
    const a = gamma!.map((value, c) =>
      value / Math.sqrt(variance![c]! + Math.fround(1e-3))
    );
    const s = beta!.map((value, c) => value - mean![c]! * a[c]!);
    assertEquals(
      initializer(bytes, "w"),
      tensorLike(w, widen(w).map((value, i) => value * a[i % 3]!)),
    );
    assertEquals(
      initializer(bytes, "v"),
      tensorLike(v, widen(v).map((value, c) => value * a[c]! + s[c]!)),
    );
  });
}

Deno.test("fold: a weight that is cast is written as what it is cast to", async () => {
  const next = random(10);
  const base = one(next);
  const half = castTensor(base.constants!.w as Tensor, "float16");
  const model = makeModel({
    ...base,
    nodes: [
      { op: "Cast", in: ["h"], out: ["w"], attributes: { to: 1 } },
      ...base.nodes,
    ],
    constants: {
      ...Object.fromEntries(
        Object.entries(base.constants!).filter(([name]) => name !== "w"),
      ),
      h: half,
    },
  });
  const { bytes } = fold(model);
  const { node, initializer: list } = decode(bytes).graph!;
  assertEquals(node!.map(({ opType }) => opType), ["Gemm"]);
  assertEquals(names(list!), ["n_c/bias", "n_c/weight"]);
  // The same model, but for the Cast.
  const cast = castTensor(half, "float32");
  const plain = makeModel({
    ...base,
    constants: { ...base.constants, w: cast },
  });
  await assertSame(plain, bytes, { x: randomTensor(next, [4, 5]) });
});

Deno.test("fold: weights that would overflow are a reason to stay", () => {
  const next = random(11);
  const base = one(next);
  const { kept } = fold(makeModel({
    ...base,
    constants: {
      ...base.constants,
      w: tensor(Array(15).fill(60000), [5, 3], "float16"),
      y_scale: tensor([1, 1, 4], [3]),
      y_var: tensor([1, 1, 1], [3]),
    },
  }));
  assertMatch(kept[0]!.reason, /not be finite in float16/);
});

Deno.test("fold: a BatchNormalization that only scales goes through padding, and adds no bias", async () => {
  const next = random(12);
  const zeros = tensor([0, 0, 0, 0], [4]);
  const { bytes, folded } = await assertFolds({
    nodes: [bnNode("x", "b"), {
      op: "Conv",
      in: ["b", "w"],
      out: ["y"],
      attributes: { pads: [1, 1, 1, 1] },
    }],
    constants: {
      w: randomTensor(next, [3, 4, 3, 3]),
      ...bnConstants("b", 4, next),
      b_B: zeros,
      b_mean: zeros,
    },
    inputs: { x: ["n", 4, 5, 6] },
    outputs: { y: ["n", 3, 5, 6] },
  }, next);
  assertEquals(folded[0]!.direction, "after");
  assertEquals(decode(bytes).graph!.node![0]!.input, ["x", "w"]);
});

Deno.test("fold: float64 agrees as closely as float64 allows", async () => {
  const next = random(13);
  const type = "float64";
  const { folded } = await assertFolds({
    nodes: [bnNode("x", "b"), gemm("b", "w", "c", "v"), bnNode("c", "y")],
    constants: {
      w: randomTensor(next, [5, 3], { type }),
      v: randomTensor(next, [3], { type }),
      ...bnConstants("b", 5, next, type),
      ...bnConstants("y", 3, next, type),
    },
    inputs: { x: ["n", 5] },
    outputs: { y: ["n", 3] },
  }, next);
  assert(folded.length === 2);
});

Deno.test("fold: names of new constants meet no others", async () => {
  const next = random(14);
  const base = one(next);
  const { bytes } = await assertFolds({
    ...base,
    nodes: [
      ...base.nodes,
      { op: "Identity", in: ["y"], out: ["n_c/bias"] },
    ],
    outputs: { "n_c/bias": ["n", 3] },
  }, next);
  assertEquals(names(decode(bytes).graph!.initializer!), ["n_c/bias_1", "w"]);
});
