import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../layer/options.ts";
import {
  castTensor,
  type ElementType,
  type Tensor,
  tensor,
} from "../tensor.ts";
import { buildOnnx } from "./build.ts";
import type { BuildOnnxOptions, OnnxForm } from "./build_options.ts";
import { loadReference, runReference } from "./reference.ts";
import { random, randomLayer, randomTensor } from "./testing/layers.ts";
import { decode, feedableAsFloat32 } from "./testing/onnx_proto.ts";
import { maxUlp } from "../ulp.ts";
import { NEWEST_OPSET, OLDEST_OPSET } from "./versions.ts";

const FORMS: readonly OnnxForm[] = ["op", "affine"];
const OPSETS = Array.from(
  { length: NEWEST_OPSET - OLDEST_OPSET + 1 },
  (_, i) => OLDEST_OPSET + i,
);

/** All lists of axes of a rank, ascending, the empty one included. */
function axisLists(rank: number): number[][] {
  return Array.from(
    { length: 2 ** rank },
    (_, set) => [...Array(rank).keys()].filter((axis) => set >> axis & 1),
  );
}

/** The worst distance between the layer and a model of it in onnxruntime. */
async function disagreement(
  layer: BatchNormalization,
  inputs: readonly Tensor[],
  options: BuildOnnxOptions,
): Promise<number> {
  await using model = await loadReference(buildOnnx(layer, options));
  let worst = 0;
  for (const x of inputs) {
    const { y } = await model.run({ x });
    worst = Math.max(worst, maxUlp(y!, layer.call(x)));
  }
  return worst;
}

/** Asserts 0 ULP in both forms. */
async function assertAgrees(
  layer: BatchNormalization,
  inputs: readonly Tensor[],
  options: BuildOnnxOptions,
): Promise<void> {
  for (const form of FORMS) {
    assertEquals(
      await disagreement(layer, inputs, { ...options, form }),
      0,
      JSON.stringify({ ...options, form, axis: layer.options.axis }),
    );
  }
}

for (const opset of OPSETS) {
  Deno.test(`opset ${opset} agrees with the layer`, async () => {
    const next = random(opset);
    for (const axis of [1, -1]) {
      const layer = randomLayer(next, { axis }, [2, 3, 5, 4]);
      const x = randomTensor(next, [2, 3, 5, 4]);
      await assertAgrees(layer, [x], { inputShape: [null, 3, 5, 4], opset });
    }
  });
}

for (const rank of [1, 2, 3, 4, 5]) {
  Deno.test(`rank ${rank}: every list of axes, with and without center and scale`, async () => {
    const next = random(rank);
    const dims = [2, 3, 4, 2, 3].slice(0, rank);
    for (const axis of axisLists(rank)) {
      for (
        const [center, scale, opsets] of [
          [true, true, [7, 13, 15, 26]],
          [true, false, [15]],
          [false, true, [15]],
          [false, false, [15]],
        ] as const
      ) {
        const options = { axis, center, scale, fused: false };
        const layer = randomLayer(next, options, dims);
        const x = randomTensor(next, dims);
        for (const opset of opsets) {
          await assertAgrees(layer, [x], { inputShape: dims, opset });
        }
      }
    }
  });

  Deno.test(`rank ${rank}: every list of axes, all other extents dynamic`, async () => {
    const next = random(rank);
    const dims = [2, 3, 4, 2, 3].slice(0, rank);
    for (const axis of axisLists(rank)) {
      const layer = randomLayer(next, { axis, fused: false }, dims);
      const inputShape = dims.map((extent, d) =>
        axis.includes(d) ? extent : null
      );
      const shapes = [dims];
      // Other sizes of one and of all dynamic extents, and none at all.
      for (const size of [1, 5, 0]) {
        const other = (only: number | undefined): number[] =>
          dims.map((extent, d) =>
            !axis.includes(d) && (only ?? d) === d ? size : extent
          );
        shapes.push(other(undefined), ...dims.map((_, d) => other(d)));
      }
      const inputs = shapes.map((shape) => randomTensor(next, shape));
      for (const opset of [7, 13, 26]) {
        await assertAgrees(layer, inputs, { inputShape, opset });
      }
    }
  });

  Deno.test(`rank ${rank}: every list of axes, one other extent dynamic`, async () => {
    const next = random(rank);
    const dims = [2, 3, 4, 2, 3].slice(0, rank);
    for (const axis of axisLists(rank)) {
      const layer = randomLayer(next, { axis, fused: false }, dims);
      for (const d of dims.keys()) {
        if (axis.includes(d)) continue;
        const inputs = [1, 6, 0].map((size) =>
          randomTensor(next, dims.with(d, size))
        );
        await assertAgrees(layer, inputs, {
          inputShape: (dims as (number | null)[]).with(d, null),
        });
      }
    }
  });
}

Deno.test("a known extent of 0 in every place", async () => {
  for (const axis of axisLists(4)) {
    for (const d of [0, 1, 2, 3]) {
      if (axis.includes(d)) continue;
      const inputShape = [2, 3, 4, 2].with(d, 0);
      const layer = randomLayer(random(d), { axis, fused: false }, inputShape);
      await assertAgrees(layer, [tensor([], inputShape)], { inputShape });
    }
  }
});

// Which types agree how: float32 and float64 because both do the same
// operations in the same order; 16-bit types because the float32 result that
// is rounded is the same.
const POLICIES: readonly BatchNormalizationOptions[] = [
  { dtype: "float32", epsilon: 1e-5 },
  { dtype: "float16" },
  { dtype: "mixed_float16" },
  { dtype: "float16", kerasVersion: "3" },
  { dtype: "bfloat16" },
  { dtype: "mixed_bfloat16" },
  { dtype: "bfloat16", kerasVersion: "3" },
  { dtype: "float64" }, // its epsilon, 0.001, is not a float32
  { dtype: "float64", epsilon: 1e-7 },
  { dtype: "float64", epsilon: 1e300 }, // beyond float32
  { dtype: "float64", epsilon: 2 ** -10 },
];

/** What onnxruntime makes of a model; bfloat16 goes in and out as float32. */
async function runAny(model: Uint8Array, x: Tensor): Promise<Tensor> {
  if (x.type !== "bfloat16") return (await runReference(model, { x })).y!;
  const { y_float32 } = await runReference(feedableAsFloat32(model), {
    x_float32: castTensor(x, "float32"),
  });
  const y = castTensor(y_float32!, "bfloat16");
  // The model rounded, not this function.
  assertEquals(maxUlp(castTensor(y, "float32"), y_float32!), 0);
  return y;
}

for (const options of POLICIES) {
  Deno.test(`${JSON.stringify(options)} agrees with the layer`, async () => {
    const next = random(1);
    const dims = [8, 3, 5, 7];
    for (const axis of [[1], [-1], [1, 3]]) {
      const layer = randomLayer(next, {
        ...options,
        axis: axis.length > 1 && options.kerasVersion !== "3" ? axis : axis[0]!,
      }, dims);
      const type = layer.options.dtype.compute;
      const x = randomTensor(next, dims, { type });
      const y = layer.call(x);
      // The opsets that changed Cast, Reshape, Transpose or the operator.
      for (const opset of [7, 9, 13, 14, 15, 19, 21, 26]) {
        if (type === "bfloat16" && opset < 13) continue;
        for (const form of FORMS) {
          const model = buildOnnx(layer, { inputShape: dims, opset, form });
          assertEquals(
            maxUlp(await runAny(model, x), y),
            0,
            JSON.stringify({ opset, form, axis }),
          );
        }
      }
    }
  });
}

Deno.test("a float64 layer with variances of every size agrees", async () => {
  // Above 2^20 the default epsilon cannot be split off exactly.
  for (const largest of [2 ** 19, 2 ** 21, 2 ** 50, 1e300]) {
    const next = random(2);
    const layer = randomLayer(next, { dtype: "float64" }, [64, 256]);
    const variance = randomTensor(next, [256], {
      type: "float64",
      low: 0,
      high: largest,
    });
    layer.setWeights(layer.getWeights().with(3, variance));
    const x = randomTensor(next, [64, 256], {
      type: "float64",
      low: -1000,
      high: 1000,
    });
    await assertAgrees(layer, [x], { inputShape: [null, 256] });
  }
});

const SPECIAL = [
  NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  1e-45,
  -1e-40,
  1.1754943508222875e-38,
  3.4e38,
  -3.4e38,
  1,
  -1,
];

Deno.test("special values in every place agree", async () => {
  const float32 = fc.oneof(fc.float(), fc.constantFrom(...SPECIAL));
  const vector = fc.array(float32, { minLength: 3, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        gamma: vector,
        beta: vector,
        mean: vector,
        variance: fc.array(
          fc.oneof(
            fc.float({ min: 0 }),
            fc.constantFrom(0, 1e-45, Infinity, NaN),
          ),
          { minLength: 3, maxLength: 3 },
        ),
        epsilon: fc.constantFrom(0, 1e-45, 1e-5, 1e-3, 1),
        dtype: fc.constantFrom("float32", "float64", "float16", "bfloat16"),
        axis: fc.constantFrom(1, -1),
        x: fc.array(float32, { minLength: 36, maxLength: 36 }),
        form: fc.constantFrom(...FORMS),
      }),
      async (
        { gamma, beta, mean, variance, epsilon, dtype, axis, x: values, form },
      ) => {
        const layer = new BatchNormalization({ axis, epsilon, dtype });
        layer.setWeights(
          [gamma, beta, mean, variance].map((v) => tensor(v, [3])),
        );
        const dims = axis === 1 ? [2, 3, 6] : [2, 6, 3];
        const x = tensor([...values], dims, dtype as ElementType);
        const model = buildOnnx(layer, { inputShape: dims, form });
        assertEquals(maxUlp(await runAny(model, x), layer.call(x)), 0);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("a layer on the fused path is written with the epsilon that it uses", async () => {
  const layer = randomLayer(random(3), { axis: 1, epsilon: 1e-6 }, [
    null,
    3,
    2,
    2,
  ]);
  const inputShape = [null, 3, 2, 2];
  await assertAgrees(layer, [randomTensor(random(4), [5, 3, 2, 2])], {
    inputShape,
  });
  const [node] = decode(buildOnnx(layer, { inputShape })).graph!.node!;
  assertEquals(node!.attribute![0]!.f, Math.fround(1.001e-5));
});

Deno.test("a layer that is not built is built, with initial values", async () => {
  const layer = new BatchNormalization({
    gammaInitializer: { class_name: "Constant", config: { value: 3 } },
  });
  await assertAgrees(layer, [randomTensor(random(5), [4, 7])], {
    inputShape: [null, 7],
  });
  assertEquals(layer.gamma!.dims, [7]);
});

Deno.test("ghost batches and renormalization are plain in inference", async () => {
  for (const axis of [-1, [1, 2], [2, 3]]) {
    const layer = randomLayer(random(6), { axis, virtualBatchSize: 2 }, [
      4,
      3,
      2,
      5,
    ]);
    await assertAgrees(layer, [randomTensor(random(7), [4, 3, 2, 5])], {
      inputShape: [null, 3, 2, 5],
    });
  }
  const layer = randomLayer(random(8), { renorm: true }, [4, 3]);
  await assertAgrees(layer, [randomTensor(random(9), [4, 3])], {
    inputShape: [null, 3],
  });
});
