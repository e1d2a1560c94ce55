// Every recorded case: files of real Keras, its weights and its outputs.

import { assert, assertEquals } from "@std/assert";
import type { KernelChoice } from "../kernels/dispatch.ts";
import { loadKeras } from "./load.ts";
import type { KerasModel, LoadKerasOptions } from "./load/types.ts";
import {
  fixtureUrl,
  type RecordedCase,
  recordedCases,
  type RecordedLayer,
} from "./testing/fixtures.ts";
import {
  checkConfig,
  checkOutput,
  checkWeights,
} from "./testing/recorded_checks.ts";

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
