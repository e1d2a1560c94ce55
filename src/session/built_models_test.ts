// Models that Evenkeel builds, in Evenkeel's session.

import { assertEquals } from "@std/assert";
import { buildOnnx } from "../onnx/build.ts";
import { buildOnnxGradient } from "../onnx/training_graph/gradient.ts";
import { graphVariables } from "../onnx/training_graph/variables.ts";
import { random, randomLayer, randomTensor } from "../onnx/testing/layers.ts";
import {
  assertWithin,
  boundsOf,
  TRAINING_CASES,
  trainingExample,
  type TrainingGraphCase,
} from "../onnx/testing/training_graphs.ts";
import { NEWEST_OPSET, OLDEST_OPSET } from "../onnx/versions.ts";
import type { ElementType, Tensor } from "../tensor.ts";
import { maxUlp } from "../ulp.ts";
import { createSession } from "./session.ts";

/** Runs a model once. */
async function run(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  await using session = await createSession(model);
  const used = Object.entries(feeds).filter(([name]) =>
    session.inputNames.includes(name)
  );
  return await session.run(Object.fromEntries(used)) as Record<string, Tensor>;
}

const TYPES: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
];

for (let opset = OLDEST_OPSET; opset <= NEWEST_OPSET; opset++) {
  Deno.test(`inference of opset ${opset} gives the layer's bits`, async () => {
    const next = random(opset);
    const dims = [2, 3, 4, 5];
    for (const dtype of TYPES) {
      if (dtype === "bfloat16" && opset < 13) continue;
      for (const axis of [1, -1, 0, 2, [1, 3], [1, 2], [2, 3], [0, 2], []]) {
        const options = { axis, dtype, fused: false };
        const layer = randomLayer(next, options, dims);
        const x = randomTensor(next, dims, { type: dtype });
        for (const form of ["op", "affine"] as const) {
          const model = buildOnnx(layer, { inputShape: dims, opset, form });
          const { y } = await run(model, { x });
          assertEquals(
            maxUlp(y!, layer.call(x)),
            0,
            JSON.stringify({ axis, form, dtype }),
          );
        }
      }
    }
  });
}

Deno.test("dynamic extents, empty batches included", async () => {
  const next = random(5);
  for (const axis of [1, -1, 2, [1, 2]]) {
    const layer = randomLayer(next, { axis, fused: false }, [2, 3, 4, 5]);
    const kept = [axis].flat().map((each) => each < 0 ? each + 4 : each);
    const inputShape = [2, 3, 4, 5].map((extent, d) =>
      kept.includes(d) ? extent : null
    );
    await using session = await createSession(buildOnnx(layer, { inputShape }));
    for (const size of [2, 7, 0, 1, 2]) {
      const x = randomTensor(
        next,
        inputShape.map((extent) => extent ?? size),
      );
      const { y } = await session.run({ x });
      assertEquals(maxUlp(y as Tensor, layer.call(x)), 0);
    }
  }
});

/** One on each side of every way to write something, and the newest. */
const TRAINING_OPSETS: readonly number[] = [7, 9, 13, 15, 18, NEWEST_OPSET];

async function testTraining(each: TrainingGraphCase): Promise<void> {
  const mask = each.mask !== undefined;
  const inputShape = each.inputShape ?? each.dims;
  for (const opset of TRAINING_OPSETS) {
    if (opset < (each.since ?? 7)) continue;
    for (const form of ["op", "affine"] as const) {
      const example = trainingExample(each, random(opset));
      const { layer, x, dy, extra } = example;
      const options = { inputShape, opset, mask, training: true };
      const model = buildOnnx(layer, { ...options, form });
      const gradient = buildOnnxGradient(layer, options);
      const outputs = await run(model, { x, ...extra });
      const gradients = await run(gradient, { x, dy, ...extra });
      // The bounds are those for onnxruntime, which sums in float32.
      const bounds = boundsOf(example, { operator: true });
      const what = `opset ${opset}, ${form}`;
      const given = example.mask ? { mask: example.mask } : {};
      const y = layer.call(x, { training: true, ...given });
      assertWithin(outputs["y"], y, bounds.y, `${what}: y`);
      for (const { weight, output, value } of graphVariables(layer)) {
        if (output === undefined) continue;
        const bound = weight.endsWith("variance")
          ? bounds.variance
          : weight.endsWith("stddev")
          ? Math.max(bounds.stddev, bounds.mean)
          : bounds.mean;
        assertWithin(outputs[output], value, bound, `${what}: ${output}`);
      }
      const expected = layer.backward(dy);
      assertEquals(Object.keys(gradients), Object.keys(expected));
      for (const [name, value] of Object.entries(expected)) {
        const bound = bounds[name as "dx" | "dgamma" | "dbeta"];
        assertWithin(gradients[name], value, bound, `${what}: ${name}`);
      }
    }
  }
}

for (const each of TRAINING_CASES) {
  Deno.test(`training and gradients: ${each.name}`, () => testTraining(each));
}
