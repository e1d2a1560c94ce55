// Every training step of the fixtures, as real Keras ran it: outputs,
// gradients and moving statistics.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { EvenkeelError } from "../errors.ts";
import { KERNELS } from "../kernels/dispatch.ts";
import type { KernelName } from "../kernels/types.ts";
import { type Tensor, toFloats } from "../tensor.ts";
import { BatchNormalization } from "./batch_normalization.ts";
import { parseConfig } from "./config.ts";
import { decodeTensor, inKerasOrder } from "./testing/keras_cases.ts";
import {
  type TrainingCase,
  type TrainingLine,
  trainingLines,
  type TrainingStep,
} from "./testing/training_cases.ts";

const UNIT_ROUNDOFF = {
  float32: 2 ** -24,
  float64: 2 ** -53,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
} as const;

/** Where we differ from a line on purpose, and why. */
const DIFFERENCES: readonly (readonly [RegExp, string])[] = [
  [
    /^\w+: empty_batch_(?!inference)/,
    "an empty batch moves nothing and has gradients of 0; Keras fills the moving statistics with NaN",
  ],
  [
    /^k24: virtual_not_divisible/,
    "at inference the batch need not divide, as in Keras from 2.11 on",
  ],
  [
    /^(k24|k212|tfk): renorm_float64/,
    "Keras 2 fails on a mix of float64 and float32; we compute in float64",
  ],
  [
    /^k212: mask_(all_false|synchronized)/,
    '2.12.1 divides by 0, or by all positions; "2.12" follows 2.21',
  ],
  [
    /^k24: (SyncBatchNormalization|sync\w*first|sync_class_\w*first)/,
    "2.4 counts the wrong dimensions unless the axis is the last",
  ],
  [
    /^k3: mask_one_channel_axis_1/,
    "Keras 3 squeezes its only channel away and fails",
  ],
  [
    /^(k24|k212): (mixed_)?bfloat16_rank4/,
    "TensorFlow has no CPU kernel for it",
  ],
];

function makeLayer(
  line: TrainingLine,
  { class: className, options, adjustment, initialWeights }: TrainingCase,
  kernels: KernelName,
): BatchNormalization {
  const wrapped = { class_name: className, config: options };
  const { kerasVersion } = line;
  let layer: BatchNormalization;
  if (adjustment) {
    const pair = [
      decodeTensor(adjustment.scale),
      decodeTensor(adjustment.bias),
    ] as const;
    layer = new BatchNormalization({
      ...parseConfig(wrapped, { kerasVersion }).options,
      adjustment: () => pair,
      kernels,
    });
  } else {
    layer = BatchNormalization.fromConfig(wrapped, { kerasVersion, kernels });
  }
  layer.setWeights(inKerasOrder(initialWeights));
  return layer;
}

const floats = (t: Tensor) => toFloats(t, new Float64Array(t.data.length));

function largest(values: Float64Array): number {
  return values.reduce(
    (max, v) => Number.isFinite(v) ? Math.max(max, Math.abs(v)) : max,
    0,
  );
}

/**
 * Asserts equality within `units` unit roundoffs of `size`, plus half a unit
 * in the last place of each side's own type; NaN equals NaN.
 */
function assertNear(
  what: string,
  actual: Tensor,
  encoded: TrainingStep["y"],
  computed: "float32" | "float64",
  size: number,
): void {
  const expected = decodeTensor(encoded!);
  assertEquals(actual.dims, expected.dims, what);
  assertEquals(actual.type, expected.type, `${what}: type`);
  const ours = floats(actual);
  const theirs = floats(expected);
  const own = 2 * UNIT_ROUNDOFF[actual.type];
  for (let i = 0; i < ours.length; i++) {
    if (Object.is(ours[i], theirs[i]) || ours[i] === theirs[i]) continue;
    const bound = UNITS * UNIT_ROUNDOFF[computed] * size +
      own * Math.abs(theirs[i]!);
    assert(
      Math.abs(ours[i]! - theirs[i]!) <= bound,
      `${what}[${i}]: ${ours[i]} is not Keras' ${theirs[i]} within ${bound}`,
    );
  }
}

/**
 * What Keras' own rounding explains. It sums up to a few hundred float32
 * elements in vectors (error below 8 units of the largest), subtracts means,
 * divides, and multiplies up to six factors, each of which adds a unit.
 */
const UNITS = 32;

/** The sizes that errors are relative to; see {@linkcode UNITS}. */
function sizes(layer: BatchNormalization, x: Tensor, dy: Tensor): {
  y: number;
  dx: number;
  parameter: number;
  weight: number;
} {
  const values = floats(x);
  const size = largest(values);
  const { renormStddev, gamma, beta, movingVariance } = layer;
  const epsilon = Math.max(layer.effectiveEpsilon, 1e-12);
  // The least deviation of any channel bounds every inverse; measured over
  // the whole batch by the layer's own moments.
  const { count, m2 } = layer.moments(x);
  const deviations = [
    ...Array.from(m2, (v) => Math.sqrt(v / Math.max(count, 1) + epsilon)),
    ...Array.from(
      floats(movingVariance),
      (v) => Math.sqrt(Math.abs(v) + epsilon),
    ),
    ...Array.from(
      renormStddev ? floats(renormStddev) : [],
      (s) => Math.max(s, Math.sqrt(epsilon)),
    ),
  ].filter(Number.isFinite);
  const least = Math.min(...deviations);
  const scale = gamma ? Math.max(largest(floats(gamma)), 1) : 1;
  const shift = beta ? largest(floats(beta)) : 0;
  const normalized = size / least;
  const gradient = largest(floats(dy));
  const n = Math.max(values.length, 1);
  return {
    y: normalized * scale + shift + 1,
    dx: gradient * scale / least * (1 + normalized) * (1 + normalized),
    parameter: gradient * (1 + normalized) * n,
    weight: size * size + size + 1,
  };
}

function runStep(
  layer: BatchNormalization,
  step: TrainingStep,
  title: string,
): void {
  layer.trainable = step.trainable;
  const x = decodeTensor(step.x);
  const call = () =>
    layer.call(x, {
      training: step.training,
      ...(step.mask ? { mask: decodeTensor(step.mask) } : {}),
    });
  if (step.error !== undefined) {
    assertThrows(call, EvenkeelError, undefined, title);
    return;
  }
  const y = call();
  const dy = decodeTensor(step.dy!);
  const { dx, dgamma, dbeta } = layer.backward(dy);
  const computed = layer.options.dtype.compute === "float64"
    ? "float64"
    : "float32";
  const size = sizes(layer, x, dy);
  assertNear(`${title}: y`, y, step.y, computed, size.y);
  assertNear(`${title}: dx`, dx, step.dx, computed, size.dx);
  assertEquals(dgamma !== undefined, step.dgamma !== undefined);
  assertEquals(dbeta !== undefined, step.dbeta !== undefined);
  if (dgamma) {
    assertNear(
      `${title}: dgamma`,
      dgamma,
      step.dgamma,
      computed,
      size.parameter,
    );
  }
  if (dbeta) {
    assertNear(`${title}: dbeta`, dbeta, step.dbeta, computed, size.parameter);
  }
  if (step.losses !== undefined) {
    const losses = layer.losses();
    assert(
      Math.abs(losses - step.losses) <= 16 * 2 ** -24 * Math.abs(step.losses),
      `${title}: losses ${losses}, Keras' ${step.losses}`,
    );
  }
  const after = {
    moving_mean: layer.movingMean,
    moving_variance: layer.movingVariance,
    moving_stddev: layer.movingStddev,
    renorm_mean: layer.renormMean,
    renorm_stddev: layer.renormStddev,
  };
  for (const [name, weight] of Object.entries(after)) {
    if (!weight) continue;
    assertNear(
      `${title}: ${name}`,
      weight,
      step.weightsAfter[name],
      computed,
      size.weight,
    );
  }
}

const used = new Set<string>();

for (const line of trainingLines()) {
  for (const each of line.cases) {
    const title = `${line.name}: ${each.name}`;
    const difference = DIFFERENCES.find(([pattern]) => pattern.test(title));
    if (difference) {
      used.add(difference[1]);
      continue;
    }
    for (const { name: kernels } of KERNELS) {
      Deno.test(`${title} on ${kernels}`, () => {
        if (each.error !== undefined) {
          assertThrows(() => {
            const layer = BatchNormalization.fromConfig(
              { class_name: each.class, config: each.options },
              { kerasVersion: line.kerasVersion, kernels },
            );
            layer.build(each.inputShape);
          }, EvenkeelError);
          return;
        }
        const layer = makeLayer(line, each, kernels);
        layer.build(each.inputShape);
        if (each.fused !== null) assertEquals(layer.fused, each.fused);
        each.steps.forEach((step, i) =>
          runStep(layer, step, `${title}, step ${i}`)
        );
      });
    }
  }
}

Deno.test("every deliberate difference is one of some case", () => {
  assertEquals([...used].sort(), DIFFERENCES.map(([, why]) => why).sort());
});
