import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
} from "@std/assert";
import { EvenkeelError } from "../../errors.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { runReference } from "../reference.ts";
import { assertFolds, fold } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  makeModel,
  type ModelSpec,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random, randomTensor } from "../testing/layers.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";

const image = ["n", 4, 6, 5] as const;

/** A Conv of 4 channels to 3, and a BatchNormalization called `y`. */
function convModel(
  next: () => number,
  rest: Partial<ModelSpec> = {},
  bn: NodeSpec = bnNode("c", "y"),
): ModelSpec {
  return {
    nodes: [{ op: "Conv", in: ["x", "w", "b"], out: ["c"] }, bn],
    constants: {
      w: randomTensor(next, [3, 4, 2, 2]),
      b: randomTensor(next, [3]),
      ...bnConstants("y", 3, next),
    },
    inputs: { x: image },
    outputs: { y: ["n", 3, 5, 4] },
    ...rest,
  };
}

function names(list: readonly { name?: string | null }[]): string[] {
  return list.map(({ name }) => name!);
}

async function runs(
  before: Uint8Array,
  after: Uint8Array,
  feeds: Record<string, Tensor>,
): Promise<void> {
  const expected = await runReference(before, feeds);
  const actual = await runReference(after, feeds);
  assertEquals(Object.keys(actual), Object.keys(expected));
  for (const [name, { data, dims }] of Object.entries(expected)) {
    assertEquals(actual[name]!.dims, dims);
    data.forEach((value, i) => {
      const other = actual[name]!.data[i]!;
      // Sums of 17 terms below 30: 2 * 40 roundings of half of 2^-23 each.
      assert(Math.abs(value - other) <= 80 * 2 ** -24 * 17 * 30);
    });
  }
}

Deno.test("fold: the graph's output keeps its name, and what is told of it", async () => {
  const next = random(1);
  const { bytes } = await assertFolds(
    convModel(next, { valueInfo: { c: ["n", 3, 5, 4] } }),
    next,
  );
  const { node, output, valueInfo } = decode(bytes).graph!;
  assertEquals(node![0]!.output, ["y"]);
  assertEquals(names(output!), ["y"]);
  assertEquals(valueInfo, []);
});

Deno.test("fold: what is told of the Conv's output is told of the new name", async () => {
  const next = random(2);
  const base = convModel(next, {
    valueInfo: { c: ["n", 3, 5, 4] },
    outputs: { z: ["n", 3, 5, 4] },
  });
  const { bytes } = await assertFolds({
    ...base,
    nodes: [...base.nodes, { op: "Relu", in: ["y"], out: ["z"] }],
  }, next);
  const { node, valueInfo } = decode(bytes).graph!;
  assertEquals(node!.map(({ input }) => input![0]), ["x", "y"]);
  assertEquals(names(valueInfo!), ["y"]);
});

Deno.test("fold: what reads the output may be in a subgraph", async () => {
  const next = random(3);
  const base = convModel(next);
  const branch = (op: string) => ({
    nodes: [{ op, in: ["y"], out: [op] }],
    outputs: { [op]: ["n", 3, 5, 4] },
  });
  const model = makeModel({
    ...base,
    nodes: [...base.nodes, {
      op: "ReduceMax",
      in: ["y"],
      out: ["max"],
      attributes: { keepdims: 0 },
    }, {
      op: "Less",
      in: ["max", "limit"],
      out: ["low"],
    }, {
      op: "If",
      in: ["low"],
      out: ["z"],
      attributes: { then_branch: branch("Relu"), else_branch: branch("Neg") },
    }],
    constants: { ...base.constants, limit: tensor([0], []) },
    outputs: { z: ["n", 3, 5, 4] },
  });
  const { bytes, folded } = fold(model);
  assertEquals(names(folded), ["n_y"]);
  await runs(model, bytes, { x: randomTensor(next, [2, 4, 6, 5]) });
});

Deno.test("fold: in a subgraph, with a weight of the graph around", async () => {
  const next = random(4);
  const base = convModel(next);
  const other = bnConstants("e", 3, next);
  const model = makeModel({
    nodes: [
      { op: "ReduceMax", in: ["x"], out: ["max"], attributes: { keepdims: 0 } },
      { op: "Less", in: ["max", "limit"], out: ["low"] },
      {
        op: "If",
        in: ["low"],
        out: ["z"],
        attributes: {
          then_branch: { nodes: base.nodes, outputs: base.outputs },
          else_branch: {
            nodes: [
              { op: "Conv", in: ["x", "w", "b"], out: ["d"] },
              bnNode("d", "e"),
            ],
            outputs: { e: ["n", 3, 5, 4] },
            constants: other,
          },
        },
      },
    ],
    constants: { ...base.constants, limit: tensor([1], []) },
    inputs: base.inputs!,
    outputs: { z: ["n", 3, 5, 4] },
  });
  const { bytes, folded } = fold(model);
  assertEquals(folded.map(({ name, into }) => [name, into]), [
    ["n_z/then_branch/n_y", "n_z/then_branch/n_c"],
    ["n_z/else_branch/n_e", "n_z/else_branch/n_d"],
  ]);
  for (const high of [0.5, 3]) {
    const x = randomTensor(next, [2, 4, 6, 5], { high });
    await runs(model, bytes, { x });
  }
});

Deno.test("fold: a Conv around a subgraph does not take what is inside", () => {
  const next = random(5);
  const base = convModel(next);
  const { folded, kept } = fold(makeModel({
    nodes: [base.nodes[0]!, {
      op: "If",
      in: ["flag"],
      out: ["z"],
      attributes: {
        then_branch: { nodes: [base.nodes[1]!], outputs: base.outputs },
        else_branch: {
          nodes: [{ op: "Neg", in: ["x"], out: ["e"] }],
          outputs: { e: image },
        },
      },
    }],
    constants: base.constants!,
    inputs: base.inputs!,
    outputs: { z: ["n", 3, 5, 4] },
  }));
  assertEquals(folded, []);
  assertMatch(kept[0]!.reason, /^"c" comes from outside of its graph; /);
});

Deno.test("fold: in a function that two nodes call, with constants of its own", async () => {
  const next = random(6);
  const base = convModel(next);
  const constants = Object.entries(base.constants!).map((
    [name, value],
  ): NodeSpec => ({
    op: "Constant",
    in: [],
    out: [name],
    attributes: { value },
  }));
  const model = makeModel({
    nodes: [
      { op: "Block", in: ["x"], out: ["p"], domain: "local" },
      { op: "Block", in: ["x2"], out: ["q"], domain: "local" },
    ],
    inputs: { x: image, x2: image },
    outputs: { p: ["n", 3, 5, 4], q: ["n", 3, 5, 4] },
    functions: [{
      name: "Block",
      inputs: ["x"],
      outputs: ["y"],
      // Without a bias: one is added, where functions have no initializers.
      nodes: [
        ...constants.filter(({ out }) => out[0] !== "b"),
        { op: "Conv", in: ["x", "w"], out: ["c"] },
        base.nodes[1]!,
      ],
    }],
  });
  const { bytes, folded } = fold(model);
  assertEquals(folded.map(({ into }) => into), ["Block/n_c"]);
  assertEquals(
    decode(bytes).functions![0]!.node!.map((
      { opType, output },
    ) => [opType, ...output!]),
    [["Constant", "w"], ["Constant", "n_c/bias"], ["Conv", "y"]],
  );
  await runs(model, bytes, {
    x: randomTensor(next, [2, 4, 6, 5]),
    x2: randomTensor(next, [2, 4, 6, 5]),
  });
});

Deno.test("fold: in a function, with constants that its only call gives", async () => {
  const next = random(7);
  const base = convModel(next);
  const weights = ["w", "b", "y_scale", "y_B", "y_mean", "y_var"];
  const model = makeModel({
    nodes: [{
      op: "Block",
      in: ["x", ...weights],
      out: ["z"],
      domain: "local",
    }],
    constants: base.constants!,
    inputs: base.inputs!,
    outputs: { z: ["n", 3, 5, 4] },
    functions: [{
      name: "Block",
      inputs: ["x", ...weights],
      outputs: ["y"],
      nodes: base.nodes,
    }],
  });
  const { bytes, folded } = fold(model);
  assertEquals(folded.map(({ name, into }) => [name, into]), [
    ["Block/n_y", "Block/n_c"],
  ]);
  const { graph, functions } = decode(bytes);
  assertEquals(functions![0]!.node!.map(({ output }) => output), [["y"]]);
  // The call still passes them.
  assertEquals(names(graph!.initializer!), weights);
  await runs(model, bytes, { x: randomTensor(next, [2, 4, 6, 5]) });
});

Deno.test("fold: a function's constants that two calls give differ", () => {
  const next = random(8);
  const base = convModel(next);
  const weights = ["w", "b", "y_scale", "y_B", "y_mean", "y_var"];
  const call = (out: string): NodeSpec => ({
    op: "Block",
    in: ["x", ...weights],
    out: [out],
    domain: "local",
  });
  const { folded, kept } = fold(makeModel({
    nodes: [call("z"), call("u")],
    constants: base.constants!,
    inputs: base.inputs!,
    outputs: { z: ["n", 3, 5, 4], u: ["n", 3, 5, 4] },
    functions: [{
      name: "Block",
      inputs: ["x", ...weights],
      outputs: ["y"],
      nodes: base.nodes,
    }],
  }));
  assertEquals(folded, []);
  assertMatch(kept[0]!.reason, /^dynamic gamma: .* function that 2 nodes call/);
});

Deno.test("fold: training mode and other obstacles are reasons", () => {
  const next = random(9);
  const reasonOf = (spec: ModelSpec): string => {
    const model = makeModel(spec);
    const { folded, kept, bytes } = fold(model);
    assertEquals(folded, []);
    assertEquals(bytes, model);
    assertEquals(names(kept), ["n_y"]);
    return kept[0]!.reason;
  };
  const bn = bnNode("c", "y");
  const withAttributes = (attributes: NodeSpec["attributes"], opset: number) =>
    reasonOf(convModel(next, { opset }, { ...bn, attributes: attributes! }));
  assertMatch(withAttributes({ training_mode: 1 }, 15), /^training mode/);
  assertMatch(withAttributes({ spatial: 0 }, 7), /^spatial is 0/);
  assertMatch(
    reasonOf(convModel(next, { opset: 9 }, { ...bn, out: ["y", "m"] })),
    /^training mode/,
  );
  const vector = (name: string, values: readonly number[]) => {
    const base = convModel(next);
    return reasonOf({
      ...base,
      constants: { ...base.constants, [name]: tensor(values, [values.length]) },
    });
  };
  assertMatch(
    vector("y_var", [1, -0.5, 2]),
    /^variance \+ epsilon is -0.49.* in channel 1$/,
  );
  assertEquals(vector("y_B", [1, Infinity, 2]), "its result is not finite");
  assertMatch(vector("b", [1, NaN, 2]), /not be finite in float32/);
  assertMatch(vector("w", [3e38, 1, 2]), /weight of shape \[3\]/);
  assertMatch(vector("b", [1, 2]), /bias of shape \[2\] cannot hold/);
  assertMatch(
    vector("y_mean", [1, 2]),
    /^its parameters have different lengths: 3,3,2,3$/,
  );
  const base = convModel(next);
  assertMatch(
    reasonOf({
      ...base,
      constants: { ...base.constants, ...bnConstants("y", 4, next) },
    }),
    /^it has 4 channels, the Conv next to it 3; /,
  );
});

/** A function that gives an attribute of one of its nodes, and its calls. */
function functionModel(
  nodes: readonly NodeSpec[],
  [operator, name]: readonly [operator: string, name: string],
  calls: readonly (number | undefined)[],
): Uint8Array {
  const next = random(11);
  const constants = {
    w: randomTensor(next, [4, 3]),
    ...bnConstants("y", 3, next),
  };
  const message = decode(makeModel({
    nodes: calls.map((value, i) => ({
      op: "Block",
      in: ["x"],
      out: [`out${i}`],
      domain: "local",
      attributes: value === undefined ? {} : { given: value },
    })),
    inputs: { x: ["n", 4] },
    outputs: Object.fromEntries(calls.map((_, i) => [`out${i}`, ["n", 3]])),
    opset: 15,
    functions: [{
      name: "Block",
      inputs: ["x"],
      outputs: ["y"],
      nodes: [
        ...Object.entries(constants).map(([out, value]): NodeSpec => ({
          op: "Constant",
          in: [],
          out: [out],
          attributes: { value },
        })),
        ...nodes,
      ],
    }],
  }));
  const [block] = message.functions!;
  block!.attribute = ["given"];
  block!.node!.find(({ opType }) => opType === operator)!.attribute!.push({
    name,
    refAttrName: "given",
    type: onnx.AttributeProto.AttributeType.INT,
  });
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

Deno.test("fold: training mode may be an attribute of the calls", () => {
  const given = (...calls: (number | undefined)[]) =>
    fold(functionModel(
      [{ op: "Gemm", in: ["x", "w"], out: ["z"] }, bnNode("z", "y")],
      ["BatchNormalization", "training_mode"],
      calls,
    ));
  // By default, it is 0.
  for (const calls of [[0], [undefined], [0, undefined]]) {
    assertEquals(given(...calls).folded.length, 1, `calls with ${calls}`);
  }
  assertMatch(given(1, 1).kept[0]!.reason, /^training mode: it normalizes/);
  for (const calls of [[0, 1], [1, undefined], []]) {
    const { folded, kept } = given(...calls);
    assertEquals(folded, [], `calls with ${calls}`);
    assertMatch(kept[0]!.reason, /^training mode is an attribute of its func/);
  }
});

Deno.test("fold: what the calls tell of nodes between is a reason to stay", () => {
  const nodes: NodeSpec[] = [
    { op: "Gemm", in: ["x", "w"], out: ["z"] },
    { op: "Flatten", in: ["z"], out: ["f"] },
    bnNode("f", "y"),
  ];
  assertMatch(
    fold(functionModel(nodes, ["Flatten", "axis"], [0])).kept[0]!.reason,
    /^Flatten "n_f" has axis that its function's call gives/,
  );
  assertMatch(
    fold(functionModel(nodes, ["Gemm", "transB"], [0])).kept[0]!.reason,
    /^Gemm "Block\/n_z" has the attribute transB from its function's call/,
  );
});

Deno.test("fold: a model with training information stays as it is", () => {
  const next = random(10);
  const message = decode(makeModel(convModel(next)));
  message.trainingInfo = [
    onnx.TrainingInfoProto.create({
      updateBinding: [{ key: "y_mean", value: "y_mean_next" }],
    }),
  ];
  const model = new Uint8Array(onnx.ModelProto.encode(message).finish());
  const { bytes, kept } = fold(model);
  assertEquals(bytes, model);
  assertMatch(kept[0]!.reason, /^the model has training information/);
});

Deno.test("fold: before opset 7, Add's attributes say where a constant is added", () => {
  const next = random(11);
  const constants = {
    w: randomTensor(next, [4, 3]),
    b: randomTensor(next, [3]),
    ...bnConstants("y", 3, next),
  };
  const modelOf = (
    opset: number,
    add: NodeSpec["attributes"] | undefined,
  ): Uint8Array =>
    makeModel({
      nodes: [
        { op: "MatMul", in: ["x", "w"], out: [add ? "m" : "a"] },
        ...add
          ? [{ op: "Add", in: ["m", "b"], out: ["a"], attributes: add }]
          : [],
        opset < 7
          ? { ...bnNode("a", "y"), attributes: { epsilon: 1e-3, is_test: 1 } }
          : bnNode("a", "y"),
      ],
      constants,
      inputs: { x: ["n", 4] },
      outputs: { y: ["n", 3] },
      opset,
    });
  const result = (model: Uint8Array) => {
    const { bytes, folded } = fold(model);
    assertEquals(folded.length, 1);
    const { node, initializer } = decode(bytes).graph!;
    const add = node!.at(-1)!;
    return {
      constants: initializer!.map(({ rawData }) => [...rawData!]),
      inputs: add.input,
      attributes: add.attribute!.map(({ name, i }) => [name, Number(i)]),
    };
  };
  const broadcast = { broadcast: 1 };
  // onnxruntime has no such opsets; the constants are those of a newer one.
  const old = result(modelOf(6, broadcast));
  assertEquals(old.attributes, [["broadcast", 1]]);
  assertEquals(old, { ...result(modelOf(9, {})), attributes: old.attributes });
  assertEquals(
    result(modelOf(6, { ...broadcast, axis: 1 })).constants,
    old.constants,
  );
  const alone = result(modelOf(6, undefined));
  assertEquals(alone.attributes, [["broadcast", 1]]);
  assertEquals(alone, {
    ...result(modelOf(9, undefined)),
    attributes: alone.attributes,
  });
  const { kept } = fold(modelOf(6, { ...broadcast, axis: 0 }));
  assertMatch(kept[0]!.reason, /^Add "n_a" adds to other axes; /);
});

Deno.test("fold: damaged files give typed errors, or a result that can be read", () => {
  const next = random(12);
  const model = makeModel(
    convModel(next, { valueInfo: { c: ["n", 3, 5, 4] } }),
  );
  let results = 0;
  for (let i = 0; i < 3000; i++) {
    const damaged = model.slice();
    for (let k = 0; k < 1 + i % 3; k++) {
      const at = Math.floor(next() * damaged.length);
      damaged[at] = Math.floor(next() * 256);
    }
    try {
      fold(fold(damaged).bytes);
      results++;
    } catch (error) {
      assertInstanceOf(error, EvenkeelError);
    }
  }
  assert(results > 100 && results < 2900);
});
