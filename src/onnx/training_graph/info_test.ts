import { assertEquals, assertThrows } from "@std/assert";
import { FormatError, OptionError, UnsupportedError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../../layer/options.ts";
import { tensor } from "../../tensor.ts";
import { buildOnnx } from "../build.ts";
import { DataType, encodeModel, type ModelProto } from "../model.ts";
import { constant } from "../step.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";
import { buildOnnxTraining } from "./info.ts";
import { trainingStep, writeVariables } from "./info_step.ts";
import { viewModel } from "../view.ts";

const shape = { inputShape: [null, 3] } as const;

Deno.test("the model's graph is the inference that buildOnnx writes", () => {
  for (
    const options of [
      { axis: 1 },
      { axis: -1, scale: false },
      { virtualBatchSize: 2, renorm: true },
      { dtype: "float64", epsilon: 2 ** -10 },
      { dtype: "mixed_float16" },
    ] satisfies BatchNormalizationOptions[]
  ) {
    const layer = new BatchNormalization({ name: "bn", ...options });
    const training = decode(buildOnnxTraining(layer, shape));
    const inference = decode(buildOnnx(layer, shape));
    assertEquals(training.graph, inference.graph);
    assertEquals(training.opsetImport, inference.opsetImport);
  }
});

Deno.test("variables that the operator cannot take are still initializers", () => {
  for (const options of [{ dtype: "float64" }, { dtype: "float16" }]) {
    const layer = new BatchNormalization({
      name: "bn",
      kerasVersion: "3",
      ...options,
    });
    const { graph } = viewModel(buildOnnxTraining(layer, shape));
    for (const name of ["scale", "B", "input_mean", "input_var"]) {
      const tensor = graph.initializers.get(`bn/${name}`);
      assertEquals(tensor!.dataType, DataType[layer.options.dtype.variable]);
    }
  }
});

Deno.test("bindings, inputs and outputs", () => {
  const layer = new BatchNormalization({ name: "bn", renorm: true });
  const { graph, trainingInfo } = viewModel(
    buildOnnxTraining(layer, { ...shape, momentum: 0.9 }),
  );
  const [{ algorithm, updateBinding, initialization }] = trainingInfo as [
    typeof trainingInfo[0],
  ];
  assertEquals(trainingInfo.length, 1);
  assertEquals(initialization, undefined);
  assertEquals(
    [...updateBinding],
    [
      ["bn/scale", "next_gamma"],
      ["bn/training/velocity_gamma", "next_velocity_gamma"],
      ["bn/B", "next_beta"],
      ["bn/training/velocity_beta", "next_velocity_beta"],
      ["bn/input_mean", "next_moving_mean"],
      ["bn/input_var", "next_moving_variance"],
      ["bn/moving_stddev", "next_moving_stddev"],
      ["bn/renorm_mean", "next_renorm_mean"],
      ["bn/renorm_stddev", "next_renorm_stddev"],
    ],
  );
  assertEquals(algorithm!.inputs.map(({ name }) => name), ["dy"]);
  assertEquals(algorithm!.outputs.slice(0, 2).map(({ name }) => name), [
    "training_y",
    "dx",
  ]);
  // The combined graph's names are unique, and all that is read is there.
  const nodes = [...graph.nodes, ...algorithm!.nodes];
  const values = [
    ...graph.inputs.map(({ name }) => name),
    ...algorithm!.inputs.map(({ name }) => name),
    ...graph.initializers.keys(),
    ...algorithm!.initializers.keys(),
    ...nodes.flatMap(({ outputs }) => outputs),
  ];
  assertEquals(new Set(values).size, values.length);
  const known = new Set(values);
  for (const { inputs } of nodes) {
    for (const name of inputs) assertEquals(known.has(name), true, name);
  }
});

Deno.test("a mean squared error has a target and a loss", () => {
  const layer = new BatchNormalization({
    kerasVersion: "2.12",
    adjustment: () => [tensor([1], [1]), tensor([0], [1])],
  });
  const { trainingInfo } = viewModel(
    buildOnnxTraining(layer, {
      ...shape,
      loss: "meanSquaredError",
      mask: true,
    }),
  );
  const { inputs, outputs } = trainingInfo[0]!.algorithm!;
  assertEquals(inputs.map(({ name }) => name), [
    "target",
    "mask",
    "adjustment_scale",
    "adjustment_bias",
  ]);
  assertEquals(outputs[1]!.name, "loss");
  assertEquals(outputs[1]!.shape, []);
});

const INVALID: readonly [
  string,
  BatchNormalizationOptions,
  Readonly<Record<string, unknown>>,
  typeof OptionError,
  string,
][] = [
  [
    "unknown option",
    {},
    { optimizer: "sgd" },
    OptionError,
    'unknown option "optimizer", expected inputShape, opset, loss',
  ],
  [
    "opset without training information",
    {},
    { opset: 11 },
    OptionError,
    "expected an opset from 12 to 26 for training, got 11",
  ],
  [
    "unknown loss",
    {},
    { loss: "mse" },
    OptionError,
    'expected loss "gradient" or "meanSquaredError", got mse',
  ],
  [
    "learning rate that is no number",
    {},
    { learningRate: NaN },
    OptionError,
    "expected learningRate to be a finite number, got NaN",
  ],
  [
    "momentum above 1",
    {},
    { momentum: 1.5 },
    OptionError,
    "expected momentum to be from 0 to 1, got 1.5",
  ],
  [
    "frozen layer",
    { trainable: false },
    {},
    OptionError,
    "it is frozen and learns nothing",
  ],
  [
    "regularizer",
    { gammaRegularizer: "l2" },
    {},
    UnsupportedError,
    "it has a gammaRegularizer",
  ],
  [
    "constraint",
    { betaConstraint: "non_neg" },
    {},
    UnsupportedError,
    "it has a betaConstraint",
  ],
];

for (const [title, layer, options, errorClass, message] of INVALID) {
  Deno.test(`refused: a model that trains, ${title}`, () => {
    assertThrows(
      () =>
        buildOnnxTraining(new BatchNormalization(layer), {
          ...shape,
          ...options,
        }),
      errorClass,
      message,
    );
  });
}

/** A model that counts: `n` becomes `n + step`. */
function counter(change: Partial<ModelProto> = {}): Uint8Array {
  const scalar = (name: string) => ({
    name,
    elemType: DataType.float32,
    shape: [],
  });
  return encodeModel({
    irVersion: 8,
    producerName: "test",
    graph: {
      name: "main",
      node: [{
        name: "pass",
        opType: "Identity",
        input: ["n"],
        output: ["now"],
        attribute: [],
      }],
      initializer: [constant("n", tensor([5], []))],
      input: [],
      output: [scalar("now")],
    },
    opsetImport: [{ domain: "", version: 15 }],
    trainingInfo: [{
      algorithm: {
        name: "count",
        node: [{
          name: "add",
          opType: "Add",
          input: ["now", "step"],
          output: ["next"],
          attribute: [],
        }],
        initializer: [constant("step", tensor([1], []))],
        input: [],
        output: [scalar("next")],
      },
      updateBinding: [{ key: "n", value: "next" }],
    }],
    ...change,
  });
}

Deno.test("a step's graph is the model's and the algorithm's", () => {
  const { bytes, inputNames, outputNames, variables } = trainingStep(counter());
  const { graph, trainingInfo } = viewModel(bytes);
  assertEquals(trainingInfo, []);
  assertEquals(graph.name, "main");
  assertEquals(graph.nodes.map(({ name }) => name), ["pass", "add"]);
  assertEquals([...graph.initializers.keys()], ["step"]);
  assertEquals(graph.inputs.map(({ name, shape }) => [name, shape]), [[
    "n",
    [],
  ]]);
  assertEquals(inputNames, []);
  assertEquals(outputNames, ["now", "next"]);
  assertEquals([...variables.keys()], ["n"]);
  assertEquals(variables.get("n")!.value.data[0], 5);
});

Deno.test("variables are written where they stand, in either graph", () => {
  const bytes = counter();
  const { variables } = trainingStep(bytes, { adjustable: ["step"] });
  assertEquals([...variables.keys()], ["n", "step"]);
  assertEquals(variables.get("step")!.output, undefined);
  const written = writeVariables(bytes, [
    [variables.get("n")!, tensor([7], [])],
    [variables.get("step")!, tensor([2], [])],
  ]);
  const again = trainingStep(written, { adjustable: ["step"] }).variables;
  assertEquals(again.get("n")!.value.data[0], 7);
  assertEquals(again.get("step")!.value.data[0], 2);
  // Two floats differ, and nothing else.
  const differing = [...written].filter((byte, i) => byte !== bytes[i]);
  assertEquals(written.length, bytes.length);
  assertEquals(differing.length <= 8, true);
  assertEquals(
    writeVariables(written, [
      [variables.get("n")!, tensor([5], [])],
      [variables.get("step")!, tensor([1], [])],
    ]),
    bytes,
  );
});

Deno.test("elements stay in the field that held them", () => {
  const message = decode(counter());
  const [n] = message.graph!.initializer!;
  delete n!.rawData;
  n!.floatData = [5];
  const bytes = onnx.ModelProto.encode(message).finish();
  const { variables } = trainingStep(bytes);
  const variable = variables.get("n")!;
  assertEquals(variable.value.data[0], 5);
  const written = writeVariables(bytes, [[variable, tensor([9], [])]]);
  assertEquals(trainingStep(written).variables.get("n")!.value.data[0], 9);
  assertEquals(decode(written).graph!.initializer![0]!.floatData, [9]);
});

Deno.test("refused: models that cannot be trained", () => {
  const bound = (key: string, value: string) => {
    const { algorithm } = counterInfo();
    return counter({
      trainingInfo: [{ algorithm, updateBinding: [{ key, value }] }],
    });
  };
  assertThrows(
    () => trainingStep(counter({ trainingInfo: [] })),
    FormatError,
    "it has no training information",
  );
  assertThrows(
    () =>
      trainingStep(counter({ trainingInfo: [counterInfo(), counterInfo()] })),
    OptionError,
    "it has 2 algorithms, choose one with index",
  );
  assertThrows(
    () => trainingStep(counter(), { index: 1 }),
    OptionError,
    "expected index to be from 0 to 0, got 1",
  );
  assertThrows(
    () => trainingStep(bound("m", "next")),
    FormatError,
    '"m" is no initializer',
  );
  assertThrows(
    () => trainingStep(bound("n", "later")),
    FormatError,
    'it binds "n" to "later", which is no output',
  );
  assertThrows(
    () => trainingStep(counter(), { adjustable: ["rate"] }),
    OptionError,
    "no initializer of this name",
  );
  assertThrows(
    () =>
      trainingStep(
        counter({ trainingInfo: [{ ...counterInfo(), updateBinding: [] }] }),
      ),
    UnsupportedError,
    "its algorithm updates nothing",
  );
  assertThrows(() => trainingStep(new Uint8Array(0)), FormatError, "empty");
  const changed = (
    change: (model: ReturnType<typeof decode>) => void,
  ): Uint8Array => {
    const message = decode(counter());
    change(message);
    return onnx.ModelProto.encode(message).finish();
  };
  assertThrows(
    () =>
      trainingStep(changed((model) => {
        model.trainingInfo![0]!.initializationBinding = [
          { key: "n", value: "first" },
        ];
      })),
    UnsupportedError,
    "initialization graph",
  );
  assertThrows(
    () =>
      trainingStep(changed((model) => {
        model.graph!.initializer![0]!.dataType = DataType.int64;
        model.graph!.initializer![0]!.rawData = new Uint8Array(8);
      })),
    UnsupportedError,
    'expected "n" to be a tensor of floats, got int64',
  );
  assertThrows(
    () =>
      trainingStep(changed((model) => {
        model.graph!.initializer![0]!.dataLocation =
          onnx.TensorProto.DataLocation.EXTERNAL;
      })),
    UnsupportedError,
    'the elements of "n" are in another file',
  );
});

/** The training information of the counter. */
function counterInfo(): NonNullable<ModelProto["trainingInfo"]>[0] {
  return {
    algorithm: {
      name: "count",
      node: [{
        name: "add",
        opType: "Add",
        input: ["now", "now"],
        output: ["next"],
        attribute: [],
      }],
      initializer: [],
      input: [],
      output: [{ name: "next", elemType: DataType.float32, shape: [] }],
    },
    updateBinding: [{ key: "n", value: "next" }],
  };
}
