import { assertEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError, UnsupportedError } from "../../errors.ts";
import { BatchNormalization } from "../../layer/batch_normalization.ts";
import { buildOnnxGradient } from "./gradient.ts";
import { graphVariables } from "./variables.ts";
import { random } from "../testing/layers.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";
import {
  assertWithin,
  boundsOf,
  OPSETS,
  runGraph,
  SOME_OPSETS,
  TRAINING_CASES,
  trainingExample,
  type TrainingGraphCase,
} from "../testing/training_graphs.ts";

async function testCase(
  each: TrainingGraphCase,
  opsets: readonly number[],
): Promise<void> {
  for (const opset of opsets) {
    if (opset < (each.since ?? 7)) continue;
    for (const training of [true, false]) {
      if (!training && each.mask) continue;
      const what = `opset ${opset}, ${training ? "training" : "inference"}`;
      const example = trainingExample(each, random(opset));
      const { layer, x, dy, mask, extra } = example;
      const bounds = boundsOf(example, { inference: !training });
      const bytes = buildOnnxGradient(layer, {
        inputShape: each.inputShape ?? each.dims,
        opset,
        training,
        mask: each.mask !== undefined,
      });
      assertEquals(
        new Uint8Array(onnx.ModelProto.encode(decode(bytes)).finish()),
        bytes,
      );
      const used = decode(bytes).graph!.input!.map(({ name }) => name!);
      const given = Object.entries(extra).filter(([name]) =>
        used.includes(name)
      );
      assertEquals(
        given.length,
        training && layer.trainable ? Object.keys(extra).length : 0,
      );
      const outputs = await runGraph(bytes, {
        x,
        dy,
        ...Object.fromEntries(given),
      });
      layer.call(x, { training, ...(mask ? { mask } : {}) });
      const expected = layer.backward(dy);
      assertEquals(Object.keys(outputs), Object.keys(expected));
      for (const [name, gradient] of Object.entries(expected)) {
        const bound = bounds[name as "dx" | "dgamma" | "dbeta"];
        assertWithin(outputs[name], gradient, bound, `${what}: ${name}`);
      }
    }
  }
}

for (const each of TRAINING_CASES) {
  Deno.test(`gradients: ${each.name}`, async () => {
    await testCase(each, each.everyOpset ? OPSETS : SOME_OPSETS);
  });
  if (each.single) continue;
  Deno.test(`gradients in float64: ${each.name}`, async () => {
    const double = { ...each, options: { ...each.options, dtype: "float64" } };
    await testCase(double, SOME_OPSETS);
  });
}

Deno.test("gradients of fed variables", async () => {
  const each = { name: "", options: { renorm: true }, dims: [6, 3] };
  const example = trainingExample(each, random(1));
  const { layer, x, dy } = example;
  const bytes = buildOnnxGradient(layer, {
    inputShape: [null, 3],
    state: "inputs",
  });
  // Other values than when the graph was written.
  const other = trainingExample(each, random(2)).layer;
  layer.setWeights(other.getWeights());
  const bounds = boundsOf(example, {});
  const fed = graphVariables(layer).filter(({ weight }) =>
    ["gamma", "renorm_mean", "renorm_stddev"].includes(weight)
  ).map(({ name, value }) => [name, value]);
  const { dx, dgamma } = await runGraph(bytes, {
    x,
    dy,
    ...Object.fromEntries(fed),
  });
  layer.call(x, { training: true });
  const expected = layer.backward(dy);
  assertWithin(dx, expected.dx, bounds.dx, "dx");
  assertWithin(dgamma, expected.dgamma!, bounds.dgamma, "dgamma");
});

const INVALID: readonly [
  string,
  BatchNormalization,
  Readonly<Record<string, unknown>>,
  typeof OptionError,
  string,
][] = [
  [
    "unknown option",
    new BatchNormalization(),
    { form: "op" },
    OptionError,
    'unknown option "form", expected inputShape, opset, training, mask, state',
  ],
  [
    "opset out of range",
    new BatchNormalization(),
    { opset: 6 },
    OptionError,
    "expected an opset from 7 to 26",
  ],
  [
    "training that is no boolean",
    new BatchNormalization(),
    { training: 1 },
    OptionError,
    "expected training to be a boolean, got 1",
  ],
  [
    "unknown state",
    new BatchNormalization(),
    { state: "constants" },
    OptionError,
    'expected state "initializers" or "inputs", got constants',
  ],
  [
    "mask in inference",
    new BatchNormalization({ kerasVersion: "3" }),
    { training: false, mask: true },
    OptionError,
    "inference has no mask",
  ],
  [
    "mask that the layer ignores",
    new BatchNormalization(),
    { mask: true },
    OptionError,
    "does not use a mask",
  ],
  [
    "mask and ghost batches",
    new BatchNormalization({ kerasVersion: "2.12", virtualBatchSize: 2 }),
    { mask: true },
    UnsupportedError,
    "do not go together",
  ],
  [
    "empty batch",
    new BatchNormalization(),
    { inputShape: [0, 4] },
    ShapeError,
    "has no statistics",
  ],
  [
    "negative variance in inference",
    new BatchNormalization({
      movingVarianceInitializer: {
        class_name: "Constant",
        config: { value: -1 },
      },
    }),
    { training: false },
    OptionError,
    "must not be negative",
  ],
];

for (const [title, layer, options, errorClass, message] of INVALID) {
  Deno.test(`refused: gradients, ${title}`, () => {
    assertThrows(
      () => buildOnnxGradient(layer, { inputShape: [null, 4], ...options }),
      errorClass,
      message,
    );
  });
}
