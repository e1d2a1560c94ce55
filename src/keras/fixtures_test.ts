// Every recorded case: files of real Keras, its weights and its outputs.

import { assert, assertEquals } from "@std/assert";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import type { KernelChoice } from "../kernels/dispatch.ts";
import { type ElementType, type Tensor, toFloats } from "../tensor.ts";
import { loadKeras } from "./load.ts";
import {
  fixtureUrl,
  type RecordedCase,
  recordedCases,
  type RecordedLayer,
  recordedTensor,
} from "./testing/fixtures.ts";
import type { KerasLayer, KerasModel, LoadKerasOptions } from "./types.ts";

/** The largest relative error of one rounding. */
const UNIT_ROUNDOFF: Readonly<Record<ElementType, number>> = {
  float64: 2 ** -53,
  float32: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/**
 * How far two correct inferences can be apart, in units of
 * u * (|x * a| + |mean * a| + |beta|), with u the unit roundoff of the type
 * that Keras computes in and a = gamma / sqrt(variance + epsilon).
 *
 * Ours: a is off by 3.5 u (the sum under the root counts half, root, quotient
 * and product one each), x * a and mean * a by 4.5 u of themselves, and the
 * two sums add u of b and u of y, each at most the sum of the terms: 6.5.
 * Keras computes x * a + b or (x - mean) * a + beta, with no more roundings
 * than that but for a reciprocal root that Eigen gets from an estimate, good
 * to 2 u instead of 1: 7.5. Together 14.
 */
const TOLERANCE = 14;

/** The recorded layers that a file without a configuration calls otherwise. */
const OTHER_KEYS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  // Older releases store no names: the attributes and lists are what is left.
  k212_subclassed_variables: {
    first_norm: "first",
    step_norm_0: "batch_normalization_1",
    step_norm_1: "batch_normalization_2",
    extra_norm: "batch_normalization_3",
    "block/block_norm": "block/norm",
  },
  tfk_subclassed_variables: {
    first_norm: "batch_normalization",
    step_norm_0: "steps/batch_normalization",
    step_norm_1: "steps/batch_normalization_1",
    extra_norm: "named/batch_normalization",
    "block/block_norm": "block/norm",
  },
  // The scope of the custom layer is all that its sub-layers' names have.
  tfk_subclassed_weights: { "block/block_norm": "block" },
};

/** Three variables do not say whether gamma or beta is the one that is missing. */
const GIVEN: Readonly<Record<string, LoadKerasOptions>> = {
  k212_subclassed_variables: {
    layers: { batch_normalization_2: { center: false } },
  },
  tfk_subclassed_variables: {
    layers: { "steps/batch_normalization_1": { center: false } },
  },
  k3_subclassed_variables: { layers: { step_norm_1: { center: false } } },
};

function bits({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function floats(tensor: Tensor): Float64Array {
  return toFloats(tensor, new Float64Array(tensor.data.length));
}

/** A value per channel, spread over the elements of an input. */
function perElement(
  weight: Tensor | undefined,
  { dims }: Tensor,
  axes: readonly number[],
  fallback: number,
): (index: number) => number {
  if (!weight) return () => fallback;
  const values = floats(weight);
  return (index) => {
    let rest = index;
    let channel = 0;
    let step = 1;
    for (let d = dims.length - 1; d >= 0; d--) {
      const at = rest % dims[d]!;
      rest = Math.floor(rest / dims[d]!);
      if (!axes.includes(d)) continue;
      channel += at * step;
      step *= dims[d]!;
    }
    return values[channel]!;
  };
}

/** The output's largest distance from Keras', in the units of TOLERANCE. */
function distance(
  layer: BatchNormalization,
  recorded: RecordedLayer,
  output: Tensor,
): number {
  const x = recordedTensor(recorded.input);
  const expected = floats(recordedTensor(recorded.output));
  const actual = floats(output);
  const inputs = floats(x);
  const at = (weight: Tensor | undefined, fallback: number) =>
    perElement(weight, x, recorded.axis, fallback);
  const gamma = at(layer.gamma, 1);
  const beta = at(layer.beta, 0);
  const mean = at(layer.movingMean, 0);
  const variance = at(layer.movingVariance, 1);
  const unit = UNIT_ROUNDOFF[output.type];
  let largest = 0;
  expected.forEach((value, i) => {
    const a = gamma(i) / Math.sqrt(variance(i) + recorded.usedEpsilon);
    const terms = Math.abs(inputs[i]! * a) + Math.abs(mean(i) * a) +
      Math.abs(beta(i));
    largest = Math.max(
      largest,
      Math.abs(actual[i]! - value) / (unit * terms),
    );
  });
  return largest;
}

function checkWeights(
  layer: BatchNormalization,
  recorded: RecordedLayer,
): void {
  let weights = Object.values(recorded.weights).map(recordedTensor);
  if ("renorm_mean" in recorded.weights && weights.length === 6) {
    // TensorFlow 1.13 has other variables for renormalization, which are
    // converted: see old_renorm_test.ts.
    weights = weights.slice(0, 4);
  } else assertEquals(layer.weights.length, weights.length);
  weights.forEach((expected, i) => {
    const weight = layer.weights[i]!;
    assertEquals(weight.dims, expected.dims);
    assertEquals(weight.type, expected.type);
    assertEquals(bits(weight), bits(expected));
  });
}

function checkOutput(layer: BatchNormalization, recorded: RecordedLayer): void {
  const output = layer.call(recordedTensor(recorded.input));
  assertEquals(output.type, recorded.output.dtype);
  assertEquals(output.dims, recorded.output.shape);
  assertEquals(layer.axes, recorded.axis);
  // Keras does not save `fused: false`, and runs the fused path after loading as well.
  if (recorded.fused === false && layer.fused) return;
  assertEquals(layer.effectiveEpsilon, recorded.usedEpsilon);
  const apart = distance(layer, recorded, output);
  assert(apart <= TOLERANCE, `${recorded.name} is ${apart} apart`);
}

/** What a layer's configuration was in the file, as it must come back. */
function configInFile({ config }: KerasLayer): KerasLayer["config"] {
  // Keras' shifted axes of ghost batches are not written again.
  const { axis: _, ...rest } = config!;
  return config!.virtual_batch_size == null ? config : rest;
}

function checkConfig(layer: BatchNormalization, described: KerasLayer): void {
  const config = layer.getConfig();
  if (config.virtual_batch_size != null) delete config.axis;
  assertEquals(config, configInFile(described));
}

function keyOf(recorded: RecordedCase, { path }: RecordedLayer): string {
  const key = path.join("/");
  return OTHER_KEYS[recorded.case]?.[key] ?? key;
}

async function load(
  recorded: RecordedCase,
  kernels: KernelChoice,
): Promise<KerasModel> {
  const options = { kernels, ...GIVEN[recorded.case] };
  if (recorded.weightsOf === undefined) {
    return await loadKeras(fixtureUrl(recorded.file), options);
  }
  const { config } = await loadKeras(fixtureUrl(recorded.weightsOf));
  return await loadKeras(fixtureUrl(recorded.file), {
    ...options,
    config: config!,
  });
}

for (const recorded of recordedCases()) {
  Deno.test(`loads ${recorded.file}`, async (test) => {
    const described = await load(recorded, "typed-array");
    assertEquals(described.format, recorded.format);
    assertEquals(described.kerasVersion ?? null, recorded.kerasVersion);
    const hasConfig = described.config !== undefined;
    const keys = recorded.layers.map((layer) => keyOf(recorded, layer));
    const found = [...described.batchNormalizations.keys()];
    assertEquals(
      hasConfig ? found : found.toSorted(),
      hasConfig ? keys : keys.toSorted(),
    );
    for (const kernels of ["typed-array", "wasm"] as const) {
      const model = kernels === "wasm"
        ? await load(recorded, kernels)
        : described;
      await test.step(kernels, () => {
        for (const [i, layer] of recorded.layers.entries()) {
          const key = keys[i]!;
          const loaded = model.batchNormalizations.get(key)!;
          const entry = model.layers.find((each) => each.key === key)!;
          assertEquals(entry.loaded, true);
          checkWeights(loaded, layer);
          if (hasConfig) {
            assertEquals(entry.path, layer.path);
            assertEquals(entry.assumed, []);
            checkConfig(loaded, entry);
            checkOutput(loaded, layer);
          } else {
            assert(entry.reason !== undefined);
            assert(entry.assumed.includes("epsilon"));
          }
        }
      });
    }
  });
}

for (const recorded of recordedCases()) {
  if (recorded.weightsOf === undefined || recorded.format !== "h5-weights") {
    continue;
  }
  Deno.test(`loads ${recorded.file} without a configuration`, async () => {
    const model = await loadKeras(fixtureUrl(recorded.file));
    for (const layer of recorded.layers) {
      const [key] = model.layers.filter(({ name }) => name === layer.name)
        .map((entry) => entry.key);
      checkWeights(model.batchNormalizations.get(key!)!, layer);
    }
  });
}
