// The operators on the WASM kernels: wherever their arrays lie. What they compute
// is compared with the loops of `src/session/ops` there.

import { assertEquals } from "@std/assert";
import { assertSameBits } from "./testing/bits.ts";
import { randomFloat32 } from "./testing/random.ts";
import type { BinaryOperation, UnaryOperation } from "./types.ts";
import { createWasmKernels } from "./wasm.ts";
import { createWasmInference } from "./wasm_inference.ts";

const kernels = createWasmKernels();
const { elementwise } = kernels;

type Definition = (a: number, b: number) => number;

const UNARY: Readonly<Record<UnaryOperation, Definition | undefined>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  floor: Math.floor,
  sign: (x) => x === 0 ? 0 : Math.sign(x),
  sqrt: Math.sqrt,
  // By a formula of their own, or none of Math.
  exp: undefined,
  log: undefined,
  round: undefined,
  sigmoid: undefined,
  tanh: undefined,
};

const BINARY: Readonly<Record<BinaryOperation, Definition>> = {
  add: (a, b) => a + b,
  divide: (a, b) => a / b,
  greater: (a, b) => a !== a ? a : b > a || b !== b ? b : a,
  leak: (a, b) => a < 0 ? a * b : a,
  lesser: (a, b) => a !== a ? a : b < a || b !== b ? b : a,
  multiply: (a, b) => a * b,
  subtract: (a, b) => a - b,
};

const UNARY_NAMES = Object.keys(UNARY) as UnaryOperation[];
const BINARY_NAMES = Object.keys(BINARY) as BinaryOperation[];

/** Elements before and behind, which stay as they are. */
const MARGIN = 5;

/** Takes memory for an array and its margins. */
type Place = (count: number) => Float32Array;

const inference = createWasmInference();

function inMemory(
  { allocate }: Pick<typeof inference, "allocate">,
  count: number,
): Float32Array {
  const { buffer, byteOffset } = allocate(4 * count)!;
  return new Float32Array(buffer, byteOffset, count);
}

/** Where arrays can lie; margins make offsets that no vector has. */
const PLACES: Readonly<Record<string, Place>> = {
  ordinary: (count) => new Float32Array(count),
  arena: (count) => inMemory(kernels, count),
  foreign: (count) => inMemory(inference, count),
};

/** A copy of values at a place, with NaN around it. */
function put(values: Float32Array, place: Place): Float32Array {
  const all = place(values.length + 2 * MARGIN).fill(NaN);
  const array = all.subarray(MARGIN, MARGIN + values.length);
  array.set(values);
  return array;
}

function assertMarginsStay(array: Float32Array, what: string): void {
  const all = new Float32Array(
    array.buffer,
    array.byteOffset - 4 * MARGIN,
    array.length + 2 * MARGIN,
  );
  const around = [...all.subarray(0, MARGIN), ...all.subarray(-MARGIN)];
  assertEquals(around, around.map(() => NaN), what);
}

function values(count: number, seed: number): Float32Array {
  const next = randomFloat32(seed);
  const special = [0, -0, Infinity, -Infinity, NaN, 1, -1, 0.5, 1e-45];
  return Float32Array.from(
    { length: count },
    (_, i) =>
      i % 4 === 0 ? special[i / 4 % special.length]! : i % 4 === 1
        // As activations are.
        ? (next() * 2 ** 40) % 8 || 1
        : next(),
  );
}

/** Every remainder more than once, and more than the staging area has. */
const LENGTHS = [...Array.from({ length: 71 }, (_, i) => i), 16384, 40003];

Deno.test("operators of one element, whatever the length", () => {
  for (const operation of UNARY_NAMES) {
    const of = UNARY[operation];
    const all = values(40003, 1);
    const whole = new Float32Array(all.length);
    elementwise!.unary(operation, all, whole);
    if (of) assertSameBits(whole, all.map((x) => of(x, 0)), operation);
    for (const length of LENGTHS) {
      const y = put(new Float32Array(length), PLACES.ordinary!);
      elementwise!.unary(operation, all.subarray(0, length), y);
      assertSameBits(y, whole.subarray(0, length), `${operation}, ${length}`);
      assertMarginsStay(y, operation);
    }
  }
});

Deno.test("operators of one element, wherever arrays lie", () => {
  const all = values(16384 + 13, 2);
  for (const operation of UNARY_NAMES) {
    for (const length of [7, 61, all.length]) {
      const given = all.subarray(0, length);
      const expected = new Float32Array(length);
      elementwise!.unary(operation, given, expected);
      for (const [from, place] of Object.entries(PLACES)) {
        for (const [to, target] of Object.entries(PLACES)) {
          const what = `${operation} of ${length}, ${from} to ${to}`;
          const x = put(given, place);
          const y = put(given, target);
          elementwise!.unary(operation, x, y);
          assertSameBits(y, expected, what);
          assertSameBits(x, given, what);
          assertMarginsStay(y, what);
        }
        const what = `${operation} of ${length}, ${from}, in place`;
        const x = put(given, place);
        elementwise!.unary(operation, x, x);
        assertSameBits(x, expected, what);
        assertMarginsStay(x, what);
      }
    }
  }
});

/** The definition, element by element. */
function expectedOf(
  operation: BinaryOperation,
  a: Float32Array,
  ai: number,
  aStep: number,
  b: Float32Array,
  bi: number,
  bStep: number,
  count: number,
): Float32Array {
  return Float32Array.from(
    { length: count },
    (_, i) => BINARY[operation](a[ai + i * aStep]!, b[bi + i * bStep]!),
  );
}

const STEPS = [[1, 1], [1, 0], [0, 1], [0, 0]] as const;

Deno.test("operators of two elements, whatever the length and the steps", () => {
  const a = values(40003 + 3, 3);
  const b = values(40003 + 3, 4).reverse();
  for (const operation of BINARY_NAMES) {
    for (const [aStep, bStep] of STEPS) {
      for (const length of LENGTHS) {
        const what = `${operation}, ${length}, ${aStep} and ${bStep}`;
        const y = put(new Float32Array(length), PLACES.ordinary!);
        const all = new Float32Array(y.buffer);
        elementwise!.binary(
          operation,
          a,
          1,
          aStep,
          b,
          3,
          bStep,
          all,
          MARGIN,
          length,
        );
        const expected = expectedOf(
          operation,
          a,
          1,
          aStep,
          b,
          3,
          bStep,
          length,
        );
        assertSameBits(y, expected, what);
        assertMarginsStay(y, what);
      }
    }
  }
});

Deno.test("operators of two elements, wherever arrays lie", () => {
  const places = Object.entries(PLACES);
  const operation = "subtract";
  for (const length of [61, 16384 + 13]) {
    const left = values(length, 5);
    const right = values(length, 6).reverse();
    for (const [aStep, bStep] of STEPS) {
      const expected = expectedOf(
        operation,
        left,
        0,
        aStep,
        right,
        0,
        bStep,
        length,
      );
      const run = (a: Float32Array, b: Float32Array, y: Float32Array) =>
        elementwise!.binary(operation, a, 0, aStep, b, 0, bStep, y, 0, length);
      for (const [first, aPlace] of places) {
        for (const [second, bPlace] of places) {
          const what = `${length} ${first} - ${second}, ${aStep} and ${bStep}`;
          for (const [to, target] of places) {
            const y = put(left, target);
            run(put(left, aPlace), put(right, bPlace), y);
            assertSameBits(y, expected, `${what} to ${to}`);
            assertMarginsStay(y, what);
          }
          // In the place of an operand that has all elements.
          const a = put(left, aPlace);
          const b = put(right, bPlace);
          const y = aStep === 1 ? a : b;
          if (aStep + bStep === 0) continue;
          run(a, b, y);
          assertSameBits(y, expected, `${what}, in place`);
          if (bStep === 0) continue;
          const c = put(right, bPlace);
          run(put(left, aPlace), c, c);
          assertSameBits(c, expected, `${what}, in place of the second`);
        }
      }
    }
    for (const [where, place] of places) {
      const x = put(left, place);
      elementwise!.binary("multiply", x, 0, 1, x, 0, 1, x, 0, length);
      assertSameBits(
        x,
        left.map((value) => value * value),
        `${where}, squares`,
      );
    }
  }
});
