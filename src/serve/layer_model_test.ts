import { assertEquals, assertRejects } from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import { assertSameBits } from "../kernels/testing/bits.ts";
import { randomFloat32 } from "../kernels/testing/random.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import type { BatchNormalizationOptions } from "../layer/options.ts";
import { tensor } from "../tensor.ts";
import { layerModel, type LayerParts } from "./layer_model.ts";

/** Layers that differ in what a model has of them. */
const LAYERS: readonly (readonly [BatchNormalizationOptions, number[]])[] = [
  [{}, [2, 3]],
  [{ axis: 1 }, [2, 3, 4, 5]],
  [{ axis: [1, 3] }, [2, 3, 4, 5]],
  [{ center: false }, [2, 3]],
  [{ scale: false }, [2, 3]],
  [{ center: false, scale: false, epsilon: 1e-7 }, [4, 4, 3]],
  [{ dtype: "float64", epsilon: 0.1 }, [2, 3]],
];

function partsOf(
  layer: BatchNormalization,
  shape: readonly (number | null)[],
): LayerParts {
  const type = layer.movingMean.type as "float32" | "float64";
  const names = (["movingVariance", "beta", "gamma", "movingMean"] as const)
    .filter((name) => layer[name]);
  const bytes = names.flatMap((name) => {
    const { buffer, byteOffset, byteLength } = layer[name]!.data;
    return [...new Uint8Array(buffer, byteOffset, byteLength)];
  });
  return {
    settings: {
      type,
      shape,
      axis: layer.axes!,
      epsilon: layer.effectiveEpsilon,
      weights: names,
    },
    // An odd offset, at which no float may begin.
    bytes: new Uint8Array([0, ...bytes]).subarray(1),
  };
}

for (const [options, dims] of LAYERS) {
  Deno.test(`a layer with ${JSON.stringify(options)} is served bit for bit`, async () => {
    const layer = new BatchNormalization(options);
    layer.build(dims);
    const next = randomFloat32(dims.length);
    layer.setWeights(
      layer.getWeights().map(({ data, dims, type }) =>
        tensor(
          Array.from({ length: data.length }, (_, i) => 0.3 + i / 7),
          dims,
          type,
        )
      ),
    );
    const shape = dims.map((extent, d) => d === 0 ? null : extent);
    const { settings, bytes } = partsOf(layer, shape);
    const { name, run } = layerModel("bn", settings, bytes);
    assertEquals(name, "bn");
    const length = dims.reduce((a, b) => a * b, 1);
    const x = tensor(Array.from({ length }, next), dims, settings.type);
    const { y } = await run({ x }, ["y"]);
    assertEquals([y!.type, y!.dims], [x.type, dims]);
    assertSameBits(y!.data as Float32Array, layer.call(x).data, "y");
  });
}

Deno.test("a layer refuses what is not its input", async () => {
  const layer = new BatchNormalization();
  layer.build([null, 3]);
  const { settings, bytes } = partsOf(layer, [null, 3]);
  const { run } = layerModel("bn", settings, bytes);
  const x = tensor([1, 2, 3], [1, 3]);
  await assertRejects(() => run({}), OptionError, `"x" is missing`);
  await assertRejects(() => run({ x, z: x }), OptionError, `no input "z"`);
  await assertRejects(() => run({ x }, ["z"]), OptionError, `no output "z"`);
  await assertRejects(
    () => run({ x: tensor([1, 2], [1, 2]) }),
    ShapeError,
    "expected extents [?, 3], got [1, 2]",
  );
  await assertRejects(
    () => run({ x: tensor([1, 2, 3], [1, 3], "float64") }),
    OptionError,
    "expected a tensor of float32",
  );
});
