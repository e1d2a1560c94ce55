import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { EvenkeelError, OptionError, UnsupportedError } from "../errors.ts";
import { type Tensor, widen } from "../tensor.ts";
import { type OnnxModel, openOnnx } from "./onnx_model.ts";
import { runReference } from "./reference.ts";
import {
  caseNamed,
  externalOf,
  MODEL_CASES,
  type ModelCase,
  modelNamed,
  readModel,
  tensorOf,
} from "./testing/models.ts";
import { decode, onnx } from "./testing/onnx_proto.ts";

function open(model: ModelCase): OnnxModel {
  return openOnnx(readModel(model), { externalData: externalOf(model) });
}

function feedsOf({ run }: ModelCase): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(run!.inputs).map(([name, value]) => [name, tensorOf(value)]),
  );
}

/** Mean and population variance of each channel, in float64. */
function momentsOf(x: Tensor): { mean: number[]; variance: number[] } {
  const [batch = 1, channels = 1, ...rest] = x.dims;
  const inner = rest.reduce((a, b) => a * b, 1);
  const values = widen(x);
  const of = (c: number) =>
    Array.from(
      { length: batch * inner },
      (_, i) =>
        values[(Math.floor(i / inner) * channels + c) * inner + i % inner]!,
    );
  const means = Array.from({ length: channels }, (_, c) => {
    const all = of(c);
    return all.reduce((a, b) => a + b, 0) / all.length;
  });
  const variance = means.map((mean, c) => {
    const all = of(c);
    return all.reduce((sum, v) => sum + (v - mean) ** 2, 0) / all.length;
  });
  return { mean: means, variance };
}

/** Models of one BatchNormalization between an input x and an output y. */
const SINGLE = MODEL_CASES.filter(({ name, run }) =>
  /^(opset(7_training|[89]|1[0-9]|2[0-6])|rank2|field_float32|constant_value$|identity|unknown|long|fields_b)/
    .test(name) && !/mixed|empty/.test(name) && run !== null
);

for (const model of SINGLE) {
  Deno.test(`toTraining lets ${model.name} normalize by the batch`, async () => {
    const bytes = open(model).toTraining();
    const opened = openOnnx(bytes);
    const [bn] = opened.batchNormalizations;
    assertEquals(bn!.trainingMode, true);
    const feeds = feedsOf(model);
    const [x] = Object.values(feeds);
    const outputs = await runReference(bytes, feeds);
    const { outputs: names } = caseNamed(model.name).run!;
    const [y] = Object.keys(names);
    const { mean, variance } = momentsOf(x!);
    const { gamma, beta, epsilon, momentum } = bn!;
    const inner = x!.dims.slice(2).reduce((a, b) => a * b, 1);
    const result = widen(outputs[y!]!);
    widen(x!).forEach((value, i) => {
      const c = Math.floor(i / inner) % mean.length;
      const normal = (value - mean[c]!) / Math.sqrt(variance[c]! + epsilon);
      const expected = normal * widen(gamma!)[c]! + widen(beta!)[c]!;
      // Sums of at most 40 elements of order 4 in float32.
      assert(Math.abs(result[i]! - expected) < 4e-5, `y[${i}]`);
    });
    const extra = Object.keys(outputs).filter((name) => name !== y);
    assertEquals(extra.length, 2);
    const moved = [
      [bn!.mean!, mean],
      [bn!.variance!, variance],
    ] as const;
    moved.forEach(([old, now], k) => {
      widen(outputs[extra[k]!]!).forEach((value, c) => {
        const expected = widen(old)[c]! * momentum + now[c]! * (1 - momentum);
        assert(Math.abs(value - expected) < 4e-6, `${extra[k]}[${c}]`);
      });
    });
  });

  Deno.test(`toInference gives ${model.name} its own statistics again`, async () => {
    const feeds = feedsOf(model);
    const inference = open(model).toInference();
    const again = openOnnx(open(model).toTraining()).toInference();
    const [bn] = openOnnx(again).batchNormalizations;
    assertEquals(bn!.trainingMode, false);
    const { opset, graph } = decode(again) as unknown as {
      opset: unknown;
      graph: { output: unknown[] };
    };
    assertEquals(opset, undefined);
    assertEquals(graph.output.length, 1);
    const [y] = Object.keys(model.run!.outputs);
    const expected = (await runReference(inference, feeds))[y!]!;
    const actual = (await runReference(again, feeds))[y!]!;
    assertEquals(actual.data, expected.data);
    const { gamma, beta, mean, variance, epsilon } = bn!;
    const inner = actual.dims.slice(2).reduce((a, b) => a * b, 1);
    const channels = gamma!.data.length;
    const [x] = Object.values(feeds);
    widen(x!).forEach((value, i) => {
      const c = Math.floor(i / inner) % channels;
      const normal = (value - widen(mean!)[c]!) /
        Math.sqrt(widen(variance!)[c]! + epsilon);
      const y = normal * widen(gamma!)[c]! + widen(beta!)[c]!;
      // A handful of float32 roundings of values of order 10.
      assert(Math.abs(widen(actual)[i]! - y) < 2e-5, `y[${i}]`);
    });
  });
}

for (const model of MODEL_CASES) {
  Deno.test(`there and back, no BatchNormalization of ${model.name} is lost`, () => {
    const old = open(model);
    const notices: string[] = [];
    const notice = (text: string) => notices.push(text);
    const training = openOnnx(old.toTraining({ notice }), {
      externalData: externalOf(model),
    });
    assertEquals(
      training.batchNormalizations.map(({ name }) => name),
      old.batchNormalizations.map(({ name }) => name),
    );
    for (const { name, trainingMode } of training.batchNormalizations) {
      const told = notices.filter((text) => text.startsWith(`"${name}"`));
      assert(told.length > 0, `nothing is said of ${name}`);
      const stays = told.some((text) => text.includes("does not train"));
      if (!stays) assertEquals(trainingMode, true);
    }
    const back = openOnnx(training.toInference(), {
      externalData: externalOf(model),
    });
    for (const [i, node] of back.batchNormalizations.entries()) {
      assertEquals(node.trainingMode, false);
      const before = old.batchNormalizations[i]!;
      assertEquals(node.gamma, before.gamma);
      assertEquals(node.variance, before.variance);
      assertEquals(node.epsilon, before.epsilon);
    }
  });
}

Deno.test("a model before opset 7 is raised to 15 for training, and says so", () => {
  for (
    const name of ["opset1_is_test1", "opset6_is_test1", "opset1_is_test0"]
  ) {
    const notices: string[] = [];
    const bytes = open(caseNamed(name)).toTraining({
      notice: (text) => notices.push(text),
    });
    assertMatch(notices[0]!, /^the opset is raised from [16] to 15$/);
    const [node] = decode(bytes).graph!.node!;
    const names = node!.attribute!.map((attribute) => attribute.name!);
    assert(names.includes("training_mode"));
    for (const old of ["consumed_inputs", "is_test", "spatial"]) {
      assert(!names.includes(old), old);
    }
    assertEquals(openOnnx(bytes).opset, 15);
  }
});

/** An opset 9 model of a BatchNormalization and a Squeeze with axes. */
function withSqueeze(): Uint8Array {
  const message = decode(modelNamed("opset9"));
  const graph = message.graph!;
  const [output] = graph.output!;
  const y = output!.name!;
  output!.name = "squeezed";
  delete output!.type;
  graph.node!.push(onnx.NodeProto.create({
    name: "squeeze",
    opType: "Squeeze",
    input: [y],
    output: ["squeezed"],
    attribute: [{
      name: "axes",
      ints: [0],
      type: onnx.AttributeProto.AttributeType.INTS,
    }],
  }));
  return onnx.ModelProto.encode(message).finish();
}

Deno.test("an opset is not raised past a change of another operator", () => {
  const model = openOnnx(withSqueeze());
  assertThrows(
    () => model.toTraining({ opset: 15 }),
    UnsupportedError,
    'the Squeeze node "squeeze" would have to change between opset 9 and 15',
  );
  assertEquals(openOnnx(model.toTraining({ opset: 12 })).opset, 12);
  assertEquals(openOnnx(model.toTraining()).opset, 9);
});

Deno.test("raised from five outputs to three, the running statistics keep their names", async () => {
  const model = caseNamed("opset9_training");
  const bytes = open(model).toTraining({ opset: 15 });
  const outputs = await runReference(bytes, feedsOf(model));
  const before = await runReference(readModel(model), feedsOf(model));
  assertEquals(Object.keys(outputs), Object.keys(before));
  for (const [name, value] of Object.entries(outputs)) {
    widen(value).forEach((v, i) =>
      assert(Math.abs(v - widen(before[name]!)[i]!) < 1e-5, `${name}[${i}]`)
    );
  }
});

/** Lets another node read an output of the BatchNormalization. */
function withReader(name: string, position: number): Uint8Array {
  const message = decode(modelNamed(name));
  const graph = message.graph!;
  const bn = graph.node!.find((node) => node.opType === "BatchNormalization")!;
  bn.output![position] ||= `bn/extra_${position}`;
  graph.node!.push(onnx.NodeProto.create({
    name: "reader",
    opType: "Neg",
    input: [bn.output![position]!],
    output: ["negated"],
  }));
  graph.output!.push(onnx.ValueInfoProto.create({
    name: "negated",
    type: { tensorType: { elemType: 1 } },
  }));
  return onnx.ModelProto.encode(message).finish();
}

Deno.test("who reads a running mean gets the constant one in inference", async () => {
  const bytes = openOnnx(withReader("opset14_training1", 1)).toInference();
  const outputs = await runReference(
    bytes,
    feedsOf(caseNamed("opset14_training1")),
  );
  const [bn] = openOnnx(bytes).batchNormalizations;
  assertEquals(
    [...widen(outputs.negated!)],
    [...widen(bn!.mean!)].map((value) => -value),
  );
});

Deno.test("who reads a running mean gets the one that is filled in", async () => {
  const statistics = { bn: { mean: [7, 8, 9], variance: [1, 1, 1] } };
  const bytes = openOnnx(withReader("opset14_training1", 1)).toInference({
    statistics,
  });
  const outputs = await runReference(
    bytes,
    feedsOf(caseNamed("opset14_training1")),
  );
  assertEquals([...outputs.negated!.data], [-7, -8, -9]);
});

Deno.test("a mode that the calls of a function give is seen, and turned off", async () => {
  const model = caseNamed("function_training_mode");
  const old = open(model);
  assertEquals(old.batchNormalizations[0]!.trainingMode, true);
  assertMatch(old.fold().kept[0]!.reason, /training|mode/);
  const bytes = old.toInference();
  const [bn] = openOnnx(bytes).batchNormalizations;
  assertEquals(bn!.trainingMode, false);
  const feeds = feedsOf(model);
  const [x] = Object.values(feeds);
  const { y } = await runReference(bytes, feeds);
  const inner = x!.dims.slice(2).reduce((a, b) => a * b, 1);
  widen(y!).forEach((value, i) => {
    const c = Math.floor(i / inner) % 3;
    const [gamma, beta, mean, variance] = [
      bn!.gamma!,
      bn!.beta!,
      bn!.mean!,
      bn!.variance!,
    ].map((vector) => widen(vector)[c]!) as [number, number, number, number];
    const expected =
      (widen(x!)[i]! - mean) / Math.sqrt(variance + bn!.epsilon) *
        gamma + beta;
    // A handful of float32 roundings of values of order 10.
    assert(Math.abs(value - expected) < 2e-5, `y[${i}]`);
  });
});

Deno.test("the opset is not raised past a function's, nor where a node would mean something else", () => {
  assertThrows(
    () => openOnnx(modelNamed("function_constants")).toTraining({ opset: 20 }),
    UnsupportedError,
    'the function "Norm" imports opset 14',
  );
  const cases = [["RoiAlign", 10, 16], ["Split", 13, 18], [
    "DFT",
    17,
    20,
  ]] as const;
  for (const [opType, from, to] of cases) {
    const message = decode(modelNamed("opset9"));
    message.opsetImport![0]!.version = from;
    message.graph!.node!.push(
      onnx.NodeProto.create({ opType, name: "other", output: ["o"] }),
    );
    const model = openOnnx(onnx.ModelProto.encode(message).finish());
    assertThrows(
      () => model.toTraining({ opset: to }),
      UnsupportedError,
      `the ${opType} node "other" would have to change`,
    );
  }
});

Deno.test("who reads a batch's own statistic keeps a model in training", () => {
  assertThrows(
    () => openOnnx(withReader("opset9_training", 3)).toInference(),
    UnsupportedError,
    'is read by the Neg node "reader", and inference has none',
  );
});

Deno.test("statistics that the training loop kept are filled in", async () => {
  const model = caseNamed("input_without_value");
  const statistics = new Map([["bn", {
    mean: [1, 2, 3],
    variance: [4, 5, 6],
  }]]);
  const bytes = open(model).toInference({ statistics });
  const [bn] = openOnnx(bytes).batchNormalizations;
  assertEquals([...bn!.mean!.data], [1, 2, 3]);
  assertEquals([...bn!.variance!.data], [4, 5, 6]);
  // Inputs that fed only what is a constant now are gone.
  const { inputs } = openOnnx(bytes);
  const feeds = Object.fromEntries(
    Object.entries(feedsOf(model)).filter(([name]) =>
      inputs.some((input) => input.name === name)
    ),
  );
  assertEquals(Object.keys(feeds).includes("variance"), false);
  const outputs = await runReference(bytes, feeds);
  assert(Object.keys(outputs).length === 1);
  const asObject = { bn: { mean: [1, 2, 3], variance: [4, 5, 6] } };
  assertEquals(open(model).toInference({ statistics: asObject }), bytes);
  for (
    const [bad, message] of [
      [{ mean: [1, NaN, 3], variance: [1, 1, 1] }, /got NaN/],
      [{ mean: [1, 2, 3], variance: [1, -1, 1] }, /not negative.*got -1/],
      [{ mean: [1, 2, 3] }, /variance of "bn": expected a tensor or numbers/],
      [{ mean: [1, 2, 3], variance: [1, 1, 1], gama: [1] }, /"gama"/],
    ] as const
  ) {
    const error = assertThrows(
      () => open(model).toInference({ statistics: { bn: bad as never } }),
      OptionError,
    );
    assertMatch((error as Error).message, message);
  }
  assertThrows(
    () =>
      open(model).toInference({
        statistics: new Map([["nope", { mean: [1], variance: [1] }]]),
      }),
    OptionError,
    'expected the name of a BatchNormalization, "bn"',
  );
  assertThrows(
    () =>
      open(caseNamed("computed_parameters")).toInference({
        statistics: new Map([["bn", { mean: [1], variance: [1] }]]),
      }),
    EvenkeelError,
    "expected 3 values, got 1",
  );
});

Deno.test("a Dropout in training mode is turned off for inference", async () => {
  const message = decode(modelNamed("opset14_training1"));
  const graph = message.graph!;
  const x = graph.input![0]!.name!;
  const bn = graph.node!.find((node) => node.opType === "BatchNormalization")!;
  bn.input![0] = "dropped";
  graph.initializer!.push(
    onnx.TensorProto.create({
      name: "ratio",
      dataType: 1,
      rawData: new Uint8Array(Float32Array.of(0.5).buffer),
    }),
    onnx.TensorProto.create({
      name: "training",
      dataType: 9,
      rawData: Uint8Array.of(1),
    }),
  );
  graph.node!.unshift(onnx.NodeProto.create({
    name: "dropout",
    opType: "Dropout",
    input: [x, "ratio", "training"],
    output: ["dropped"],
  }));
  const notices: string[] = [];
  const bytes = openOnnx(onnx.ModelProto.encode(message).finish()).toInference({
    notice: (text) => notices.push(text),
  });
  assert(notices.includes('Dropout "dropout" no longer drops anything'));
  const plain = open(caseNamed("opset14_training1")).toInference();
  const feeds = feedsOf(caseNamed("opset14_training1"));
  assertEquals(
    Object.values(await runReference(bytes, feeds)).map(({ data }) => data),
    Object.values(await runReference(plain, feeds)).map(({ data }) => data),
  );
});

Deno.test("options that are wrong are refused", () => {
  const model = openOnnx(modelNamed("opset17"));
  const cases: readonly (readonly [() => unknown, RegExp])[] = [
    [
      () => model.toTraining({ nodes: [] } as object),
      /the option "nodes" of toTraining/,
    ],
    [
      () => model.toInference({ only: [] } as object),
      /the option "only" of toInference/,
    ],
    [() => model.toTraining({ opset: 1.5 }), /expected a positive integer/],
    [
      () => model.toTraining({ only: ["nope"] }),
      /expected the name of a Batch/,
    ],
    [() => model.toTraining({ opset: 99 }), /opset 99 is newer than 26/],
    [
      () => model.toTraining({ only: "bn" } as never),
      /expected a list of names/,
    ],
    [() => model.toTraining({ notice: 3 } as never), /expected a function/],
    [() => model.toInference(null as never), /expected an object/],
  ];
  for (const [call, message] of cases) {
    const error = assertThrows(call, EvenkeelError);
    assertMatch((error as Error).message, message);
  }
  assertThrows(
    () =>
      openOnnx(modelNamed("if")).toTraining({
        only: [openOnnx(modelNamed("if")).batchNormalizations[0]!.name],
      }),
    UnsupportedError,
    "it is in a subgraph",
  );
});

Deno.test("a training graph fed with its own new statistics moves as the formula says", async () => {
  const model = openOnnx(modelNamed("opset17"));
  let bytes = model.toTraining();
  const feeds = feedsOf(caseNamed("opset17"));
  const [x] = Object.values(feeds);
  const { mean } = momentsOf(x!);
  const { mean: start, momentum, name } = model.batchNormalizations[0]!;
  let expected = [...widen(start!)];
  for (let step = 0; step < 3; step++) {
    const outputs = await runReference(bytes, feeds);
    const update = {
      mean: outputs[`${name}/running_mean`]!,
      variance: outputs[`${name}/running_var`]!,
    };
    bytes = openOnnx(bytes).update({ [name]: update });
    expected = expected.map((old, c) =>
      old * momentum + mean[c]! * (1 - momentum)
    );
  }
  const [bn] = openOnnx(bytes).batchNormalizations;
  widen(bn!.mean!).forEach((value, c) =>
    assert(Math.abs(value - expected[c]!) < 1e-5, `mean[${c}]`)
  );
  assertEquals(bn!.trainingMode, true);
});
