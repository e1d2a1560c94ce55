import * as fc from "fast-check";
import type { ElementType, TensorData } from "../tensor.ts";
import { KERNELS } from "./dispatch.ts";
import { layoutOf } from "./layout.ts";
import { assertSameBits } from "./testing/bits.ts";
import {
  ELEMENT_TYPES,
  makeInput,
  makeParameters,
  SHAPE_CASES,
} from "./testing/cases.ts";
import { affineOracle } from "./testing/oracle.ts";
import { type Placement, PLACEMENTS } from "./testing/placements.ts";
import type { Kernels, Parameters } from "./types.ts";

function check(
  kernels: Kernels,
  placement: Placement,
  type: ElementType,
  dims: readonly number[],
  axes: readonly number[],
  [input, a, b]: readonly [TensorData, Parameters, Parameters],
  expected: TensorData,
  what: string,
): void {
  const { x, y, dispose } = placement.place(type, input);
  kernels.affine(type, layoutOf(dims, axes), x, y, a, b);
  const where = `${what}: [${dims}] axes [${axes}], ${placement.name}`;
  assertSameBits(y, expected, where);
  if (x !== y) assertSameBits(x, input, `${where}: the input changed`);
  dispose?.();
}

for (const { name, start } of KERNELS) {
  for (const type of ELEMENT_TYPES) {
    Deno.test(`affine ${type} (${name}): the case table`, () => {
      const kernels = start();
      SHAPE_CASES.forEach(({ what, dims, axes }, i) => {
        const { channels, reduced } = layoutOf(dims, axes);
        const given = [
          makeInput(type, channels * reduced, 3 * i),
          makeParameters(type, channels, 3 * i + 1),
          makeParameters(type, channels, 3 * i + 2),
        ] as const;
        const expected = affineOracle(type, dims, axes, ...given);
        for (const placement of PLACEMENTS) {
          check(kernels, placement, type, dims, axes, given, expected, what);
        }
      });
    });
  }

  for (const type of ["float16", "bfloat16"] as const) {
    Deno.test(`affine ${type} (${name}): every bit pattern`, () => {
      const kernels = start();
      const x = Uint16Array.from({ length: 0x10000 }, (_, half) => half);
      const a = makeParameters(type, 0x10000, 1);
      const b = makeParameters(type, 0x10000, 2);
      const values = [1, -0, 0.3, -1e-3, 3e4, NaN, Infinity];
      for (const factor of values) {
        for (const summand of values) {
          const pair = [[factor], [summand]].map((v) => new Float32Array(v));
          const [one, other] = pair as [Float32Array, Float32Array];
          const dims = [1, 1, 0x10000];
          const expected = affineOracle(type, dims, [1], x, one, other);
          const y = new Uint16Array(x.length);
          kernels.affine(type, layoutOf(dims, [1]), x, y, one, other);
          assertSameBits(y, expected, `x * ${factor} + ${summand}`);
        }
      }
      const expected = affineOracle(type, [0x10000], [0], x, a, b);
      kernels.affine(type, layoutOf([0x10000], [0]), x, x, a, b);
      assertSameBits(x, expected, "a parameter for each");
    });
  }

  Deno.test(`affine (${name}): any shape, axes, type and placement`, () => {
    const kernels = start();
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 9 }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.infiniteStream(fc.boolean()),
        fc.constantFrom(...ELEMENT_TYPES),
        fc.constantFrom(...PLACEMENTS),
        fc.nat(),
        (dims, flags, type, placement, seed) => {
          const axes = dims.map((_, d) => d).filter(() => flags.next().value);
          const { channels, reduced } = layoutOf(dims, axes);
          const given = [
            makeInput(type, channels * reduced, seed),
            makeParameters(type, channels, seed + 1),
            makeParameters(type, channels, seed + 2),
          ] as const;
          const expected = affineOracle(type, dims, axes, ...given);
          check(kernels, placement, type, dims, axes, given, expected, type);
        },
      ),
      { numRuns: 300 },
    );
  });
}

Deno.test("affine rounds the product before the sum", () => {
  // (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24: rounded, the last term is lost; fused
  // with the sum it would be all that is left.
  const x = new Float32Array(33).fill(1 + 2 ** -12);
  const a = new Float32Array(33).fill(1 + 2 ** -12);
  const b = new Float32Array(33).fill(-1 - 2 ** -11);
  for (const { name, start } of KERNELS) {
    for (const axis of [0, 1]) {
      const y = new Float32Array(33);
      const layout = axis ? layoutOf([1, 33], [1]) : layoutOf([1, 33], [0]);
      start().affine("float32", layout, x, y, a, b);
      assertSameBits(y, new Float32Array(33), `${name}, axis ${axis}`);
    }
  }
});

Deno.test("affine takes a Float16Array as it takes its bits", () => {
  const layout = layoutOf([3, 5], [1]);
  const x = new Float16Array(15).fill(1.5);
  const a = new Float32Array(5).fill(2);
  const b = new Float32Array(5).fill(0.25);
  for (const { name, start } of KERNELS) {
    const y = new Float16Array(15);
    start().affine("float16", layout, x, y, a, b);
    assertSameBits(y, new Float16Array(15).fill(3.25), name);
  }
});
