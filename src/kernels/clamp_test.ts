// Bounds, alone and behind `x * a + b`, on all kernels.

import { KERNELS } from "./dispatch.ts";
import { allocate } from "./inference_dispatch.ts";
import { layoutOf } from "./layout.ts";
import { assertSameBits } from "./testing/bits.ts";
import { makeInput, makeParameters, SHAPE_CASES } from "./testing/cases.ts";
import { affineOracle } from "./testing/oracle.ts";
import { PLACEMENTS } from "./testing/placements.ts";
import type { Bounds } from "./types.ts";

/** Those of activations, and what may be given although it makes no sense. */
const BOUNDS: readonly Bounds[] = [
  { low: 0, high: Infinity },
  { low: 0, high: 6 },
  { low: -0, high: 1 },
  { low: -1, high: 0.5 },
  { low: -Infinity, high: -0.25 },
  { low: -Infinity, high: Infinity },
  { low: 2, high: -2 },
  { low: 0, high: -1 },
  { low: NaN, high: 1 },
  { low: 0, high: NaN },
  { low: Infinity, high: Infinity },
];

function clampOracle(x: Float32Array, { low, high }: Bounds): Float32Array {
  return x.map((value) => {
    const raised = value < low ? low : value;
    return raised > high ? high : raised;
  });
}

const SPECIAL = [
  NaN,
  -NaN,
  0,
  -0,
  Infinity,
  -Infinity,
  2 ** -149,
  -(2 ** -149),
];

for (const { name, start } of KERNELS) {
  Deno.test(`affineClamped (${name}): the case table`, () => {
    const kernels = start();
    SHAPE_CASES.forEach(({ what, dims, axes }, i) => {
      const layout = layoutOf(dims, axes);
      const { channels, reduced } = layout;
      const x = makeInput("float32", channels * reduced, 3 * i) as Float32Array;
      const a = makeParameters("float32", channels, 3 * i + 1) as Float32Array;
      const b = makeParameters("float32", channels, 3 * i + 2) as Float32Array;
      const plain = affineOracle("float32", dims, axes, x, a, b);
      PLACEMENTS.forEach(({ name, place }, p) => {
        const bounds = BOUNDS[(i + p) % BOUNDS.length]!;
        const given = place("float32", x);
        kernels.affineClamped(
          layout,
          given.x as Float32Array,
          given.y as Float32Array,
          a,
          b,
          bounds,
        );
        assertSameBits(
          given.y,
          clampOracle(plain as Float32Array, bounds),
          `${what}: [${dims}] axes [${axes}], ${name}, ${bounds.low} to ${bounds.high}`,
        );
        given.dispose?.();
      });
    });
  });

  Deno.test(`clamp (${name}): every remainder, bound and placement`, () => {
    const kernels = start();
    const lengths = [
      ...Array.from({ length: 90 }, (_, i) => i),
      16_385,
      70_001,
    ];
    for (const length of lengths) {
      const x = makeInput("float32", length, length) as Float32Array;
      x.set(SPECIAL.slice(0, length), Math.max(0, length - SPECIAL.length));
      for (const bounds of BOUNDS) {
        const { name, place } = PLACEMENTS[length % PLACEMENTS.length]!;
        const given = place("float32", x);
        kernels.clamp(given.x as Float32Array, given.y as Float32Array, bounds);
        assertSameBits(
          given.y,
          clampOracle(x, bounds),
          `${length}, ${name}, ${bounds.low} to ${bounds.high}`,
        );
        given.dispose?.();
      }
    }
  });
}

Deno.test("clamp takes what inference alone allocated", () => {
  const [{ start }] = KERNELS as [typeof KERNELS[number]];
  const x = makeInput("float32", 1000, 1) as Float32Array;
  using y = allocate([1000]);
  start().clamp(x, y.data as Float32Array, { low: 0, high: 6 });
  assertSameBits(y.data, clampOracle(x, { low: 0, high: 6 }), "");
});
