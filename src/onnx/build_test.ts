import { assertEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { tensor } from "../tensor.ts";
import { buildOnnx } from "./build.ts";
import type { BuildOnnxOptions } from "./build_options.ts";
import { loadReference, runReference } from "./reference.ts";
import { random, randomLayer } from "./testing/layers.ts";
import { decode } from "./testing/onnx_proto.ts";
import { maxUlp } from "../ulp.ts";

/** The operators of a model, in order. */
function operators(model: Uint8Array): string[] {
  return decode(model).graph!.node!.map(({ opType }) => opType!);
}

// The fewest nodes for each kind of layout; null is dynamic.
const LAYOUTS: readonly {
  axis: number | number[];
  shape: readonly (number | null)[];
  before: readonly string[];
}[] = [
  { axis: 1, shape: [null, 3], before: [] },
  { axis: -1, shape: [null, 3], before: [] },
  { axis: 1, shape: [null, 3, null, null], before: [] },
  { axis: 0, shape: [3], before: ["Unsqueeze"] },
  { axis: 0, shape: [3, null, null], before: ["Unsqueeze"] },
  { axis: [], shape: [null, 3, null], before: ["Unsqueeze"] },
  { axis: -1, shape: [null, null, null, 3], before: ["Transpose"] },
  { axis: 2, shape: [null, 4, 3, 5], before: ["Transpose"] },
  { axis: [1, 2], shape: [null, 2, 3, null], before: ["Reshape"] },
  { axis: [0, 1], shape: [2, 3, null, null], before: ["Reshape"] },
  { axis: [0, 1, 2], shape: [2, 3, 4], before: ["Reshape"] },
  { axis: [2, 3], shape: [null, 4, 2, 3], before: ["Reshape"] },
  { axis: [2, 3], shape: [5, 4, 2, 3, null], before: ["Reshape"] },
  { axis: [2, 3], shape: [null, null, 2, 3], before: ["Transpose", "Reshape"] },
  { axis: [1, 3], shape: [null, 2, 4, 3], before: ["Transpose", "Reshape"] },
  { axis: [0, 2], shape: [2, null, 3], before: ["Transpose", "Reshape"] },
];

for (const { axis, shape: inputShape, before } of LAYOUTS) {
  const title = `axis ${JSON.stringify(axis)} of ${JSON.stringify(inputShape)}`;
  Deno.test(`${title} takes ${before.join(", ") || "no node"} before the operator`, () => {
    const layer = new BatchNormalization({ axis, fused: false });
    const nodes = operators(buildOnnx(layer, { inputShape }));
    const undo = before.map((op) => op === "Unsqueeze" ? "Squeeze" : op)
      .reverse();
    assertEquals(nodes, [...before, "BatchNormalization", ...undo]);
    assertEquals(
      operators(buildOnnx(layer, { inputShape, form: "affine" })),
      ["Mul", "Add"],
    );
  });
}

Deno.test("16-bit layers are cast around the operator", () => {
  const layer = new BatchNormalization({ dtype: "mixed_float16" });
  assertEquals(operators(buildOnnx(layer, { inputShape: [null, 4, 4, 3] })), [
    "Transpose",
    "Cast",
    "BatchNormalization",
    "Cast",
    "Transpose",
  ]);
  assertEquals(
    operators(
      buildOnnx(layer, { inputShape: [null, 4, 4, 3], form: "affine" }),
    ),
    ["Cast", "Mul", "Add", "Cast"],
  );
});

Deno.test("names and versions", () => {
  const layer = new BatchNormalization({ name: "block/bn", axis: 1 });
  const model = decode(buildOnnx(layer, { inputShape: [null, 3] }));
  assertEquals(model.producerName, "evenkeel");
  assertEquals(Number(model.irVersion), 8);
  assertEquals(Number(model.opsetImport[0]!.version), 15);
  const { node, initializer, input } = model.graph!;
  assertEquals(node![0]!.name, "block/bn");
  assertEquals(initializer!.map(({ name }) => name), [
    "block/bn/scale",
    "block/bn/B",
    "block/bn/input_mean",
    "block/bn/input_var",
  ]);
  assertEquals(node![0]!.input, [
    "x",
    ...initializer!.map(({ name }) => name!),
  ]);
  assertEquals(node![0]!.output, ["y"]);
  assertEquals(input!.map(({ name }) => name), ["x"]);
});

Deno.test("the oldest format lists constants as inputs, and none needs feeding", async () => {
  const layer = new BatchNormalization({ name: "bn", axis: 1 });
  for (const opset of [7, 8, 9]) {
    const bytes = buildOnnx(layer, { inputShape: [null, 3], opset });
    assertEquals(decode(bytes).graph!.input!.length, opset < 9 ? 5 : 1);
    await using model = await loadReference(bytes);
    assertEquals(model.inputNames, ["x"]);
  }
});

Deno.test("inputName and outputName name the graph's values", async () => {
  const layer = new BatchNormalization();
  const x = tensor([1, 2], [1, 2]);
  const model = buildOnnx(layer, {
    inputShape: [1, 2],
    inputName: "image",
    outputName: "logits",
  });
  const { logits } = await runReference(model, { image: x });
  assertEquals(maxUlp(logits!, layer.call(x)), 0);
});

Deno.test("dynamic extents have names that are not the caller's", () => {
  const shapeOf = (inputShape: BuildOnnxOptions["inputShape"]): unknown => {
    const layer = new BatchNormalization();
    const { input, output } = decode(buildOnnx(layer, { inputShape })).graph!;
    const [x, y] = [input![0]!, output![0]!].map(({ type }) =>
      type!.tensorType!.shape!.dim!.map((dim) =>
        dim.dimParam || Number(dim.dimValue)
      )
    );
    assertEquals(x, y);
    return x;
  };
  assertEquals(shapeOf([null, null, 5, null, 3]), ["N", "d1", 5, "d3", 3]);
  assertEquals(shapeOf(["batch", "size", "size", 3]), [
    "batch",
    "size",
    "size",
    3,
  ]);
  assertEquals(shapeOf([null, "N", "N_", 3]), ["N__", "N", "N_", 3]);
});

Deno.test("the same layer gives the same bytes, and later changes do not reach them", () => {
  const layer = randomLayer(random(10), {}, [null, 3]);
  const first = buildOnnx(layer, { inputShape: [null, 3] });
  const copy = first.slice();
  assertEquals(buildOnnx(layer, { inputShape: [null, 3] }), first);
  layer.movingMean.data.fill(9);
  assertEquals(first, copy);
});

const built = new BatchNormalization({ name: "bn" });
built.build([null, 4]);
const negative = new BatchNormalization({
  name: "bn",
  movingVarianceInitializer: { class_name: "Constant", config: { value: -1 } },
});

const INVALID: readonly [
  string,
  BatchNormalization,
  Readonly<Record<string, unknown>>,
  typeof OptionError,
  string,
][] = [
  [
    "opset below the range",
    built,
    { opset: 6 },
    OptionError,
    "expected an opset from 7 to 26, got number 6",
  ],
  [
    "opset above the range",
    built,
    { opset: 27 },
    OptionError,
    "expected an opset from 7 to 26, got number 27",
  ],
  [
    "opset with a fraction",
    built,
    { opset: 7.5 },
    OptionError,
    "got number 7.5",
  ],
  ["opset NaN", built, { opset: NaN }, OptionError, "got number NaN"],
  ["opset as text", built, { opset: "15" }, OptionError, "got string 15"],
  [
    "unknown form",
    built,
    { form: "fused" },
    OptionError,
    'expected form "op" or "affine", got fused',
  ],
  [
    "training that is no boolean",
    built,
    { training: "yes" },
    OptionError,
    "expected training to be a boolean, got yes",
  ],
  [
    "mask in inference",
    built,
    { mask: true },
    OptionError,
    "mask and state belong to training graphs",
  ],
  [
    "state in inference",
    built,
    { state: "inputs" },
    OptionError,
    "mask and state belong to training graphs",
  ],
  [
    "unknown state",
    built,
    { training: true, state: "inputs?" },
    OptionError,
    'expected state "initializers" or "inputs", got inputs?',
  ],
  [
    "an input named as an output of training",
    built,
    { training: true, inputName: "running_mean" },
    OptionError,
    'cannot be "running_mean"',
  ],
  [
    "an output named as an input of training",
    built,
    { training: true, outputName: "mask" },
    OptionError,
    'cannot be "mask"',
  ],
  [
    "a mask that the release ignores",
    built,
    { training: true, mask: true },
    OptionError,
    "the layer does not use a mask",
  ],
  [
    "a mask that the fused path ignores",
    new BatchNormalization({ kerasVersion: "2.12" }),
    { training: true, mask: true, inputShape: [null, 4, 4, 4] },
    OptionError,
    "the layer does not use a mask",
  ],
  [
    "a mask of rank 0",
    new BatchNormalization({ kerasVersion: "3", axis: 0 }),
    { training: true, mask: true, inputShape: [4] },
    OptionError,
    "a mask needs an input of rank 2 or more, got rank 1",
  ],
  [
    "a mask of Keras 3 before Where",
    new BatchNormalization({ kerasVersion: "3" }),
    { training: true, mask: true, opset: 8 },
    OptionError,
    "needs opset 9 or later, got 8",
  ],
  [
    "a mask and ghost batches",
    new BatchNormalization({ kerasVersion: "2.12", virtualBatchSize: 2 }),
    { training: true, mask: true },
    UnsupportedError,
    "virtualBatchSize and a mask do not go together",
  ],
  [
    "training on an empty batch",
    built,
    { training: true, inputShape: [0, 4] },
    ShapeError,
    "an input of shape [0, 4] is empty and has no statistics",
  ],
  [
    "a batch that ghost batches do not divide",
    new BatchNormalization({ virtualBatchSize: 4 }),
    { training: true, inputShape: [6, 4] },
    ShapeError,
    "a batch of 6 is not divisible by virtualBatchSize 4",
  ],
  [
    "a frozen layer with a negative variance, in training",
    new BatchNormalization({
      trainable: false,
      movingVarianceInitializer: {
        class_name: "Constant",
        config: { value: -1 },
      },
    }),
    { training: true },
    OptionError,
    "movingVariance + epsilon must not be negative",
  ],
  [
    "unknown option",
    built,
    { opSet: 15 },
    OptionError,
    'unknown option "opSet", expected inputShape, opset',
  ],
  [
    "empty input name",
    built,
    { inputName: "" },
    OptionError,
    "inputName must be a text",
  ],
  [
    "output name that is no text",
    built,
    { outputName: 1 },
    OptionError,
    "outputName must be a text",
  ],
  [
    "equal names",
    built,
    { inputName: "y" },
    OptionError,
    "inputName and outputName must differ",
  ],
  [
    "a name of an own value",
    built,
    { inputName: "bn/scale" },
    OptionError,
    "must not start with the layer's name",
  ],
  [
    "no shape",
    built,
    { inputShape: undefined },
    ShapeError,
    "expected an inputShape",
  ],
  [
    "negative extent",
    built,
    { inputShape: [-1, 4] },
    ShapeError,
    "expected an inputShape of non-negative integers, null or names, got [-1,4]",
  ],
  [
    "extent with a fraction",
    built,
    { inputShape: [1.5, 4] },
    ShapeError,
    "expected an inputShape",
  ],
  [
    "nameless extent",
    built,
    { inputShape: ["", 4] },
    ShapeError,
    "expected an inputShape",
  ],
  [
    "other rank",
    built,
    { inputShape: [null, 4, 4] },
    ShapeError,
    "expected rank 2",
  ],
  [
    "other channels",
    built,
    { inputShape: [null, 5] },
    ShapeError,
    "expected axis 1 to have extent 4",
  ],
  [
    "dynamic channels",
    new BatchNormalization(),
    { inputShape: [2, null] },
    ShapeError,
    "undefined extent at axis 1",
  ],
  [
    "named channels",
    new BatchNormalization(),
    { inputShape: [2, "C"] },
    ShapeError,
    "undefined extent at axis 1",
  ],
  [
    "rank 0",
    new BatchNormalization(),
    { inputShape: [] },
    ShapeError,
    "undefined rank",
  ],
  [
    "no channel",
    new BatchNormalization(),
    { inputShape: [2, 0] },
    ShapeError,
    "axis 1 has extent 0",
  ],
  [
    "negative variance",
    negative,
    {},
    OptionError,
    "movingVariance[0] is -1, and movingVariance + epsilon must not be negative",
  ],
  [
    "bfloat16 before opset 13",
    new BatchNormalization({ dtype: "bfloat16" }),
    { opset: 12 },
    OptionError,
    "bfloat16 needs an opset from 13 to 26, got 12",
  ],
];

for (const [title, layer, options, errorClass, message] of INVALID) {
  Deno.test(`refused: ${title}`, () => {
    for (const form of ["op", "affine"] as const) {
      assertThrows(
        () => buildOnnx(layer, { inputShape: [null, 4], form, ...options }),
        errorClass,
        message,
      );
    }
  });
}
