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

/** An operand, from an array of its own. */
interface Rows {
  readonly data: Float32Array;
  readonly start: number;
  readonly stride: number;
  readonly step: number;
}

/** The definition, element by element. */
function expectedOf(
  operation: BinaryOperation,
  a: Rows,
  b: Rows,
  rows: number,
  count: number,
): Float32Array {
  const of = BINARY[operation];
  const at = ({ data, start, stride, step }: Rows, i: number): number =>
    data[start + Math.floor(i / count) * stride + i % count * step]!;
  return Float32Array.from(
    { length: rows * count },
    (_, i) => of(at(a, i), at(b, i)),
  );
}

const STEPS = [[1, 1], [1, 0], [0, 1], [0, 0]] as const;

Deno.test("operators of two elements, whatever the length and the steps", () => {
  const left = values(40003 + 3, 3);
  const right = values(40003 + 3, 4).reverse();
  for (const operation of BINARY_NAMES) {
    for (const [aStep, bStep] of STEPS) {
      for (const length of LENGTHS) {
        const what = `${operation}, ${length}, ${aStep} and ${bStep}`;
        const a = { data: left, start: 1, stride: 0, step: aStep };
        const b = { data: right, start: 3, stride: 0, step: bStep };
        const y = put(new Float32Array(length), PLACES.ordinary!);
        const all = new Float32Array(y.buffer);
        elementwise!.binary(operation, a, b, all, MARGIN, 1, length);
        assertSameBits(y, expectedOf(operation, a, b, 1, length), what);
        assertMarginsStay(y, what);
      }
    }
  }
});

/** Rows and their lengths: more rows, or longer ones, than there is room for. */
const EXTENTS = [[1, 61], [3, 61], [5, 9000], [2, 16384 + 13], [1500, 3]];

Deno.test("operators of two elements, wherever arrays lie", () => {
  const places = Object.entries(PLACES);
  const operation = "subtract";
  for (const [rows, count] of EXTENTS as [number, number][]) {
    const total = rows * count;
    const left = values(total, 5);
    const right = values(total, 6).reverse();
    // Elements of its own, one for each row, one row, and one element for all.
    const forms = [[count, 1], [1, 0], [0, 1], [0, 0]] as const;
    for (const [aStride, aStep] of forms) {
      for (const [bStride, bStep] of forms) {
        const aRows = { start: 0, stride: aStride, step: aStep };
        const bRows = { start: 0, stride: bStride, step: bStep };
        const expected = expectedOf(
          operation,
          { data: left, ...aRows },
          { data: right, ...bRows },
          rows,
          count,
        );
        const run = (a: Float32Array, b: Float32Array, y: Float32Array) =>
          elementwise!.binary(
            operation,
            { data: a, ...aRows },
            { data: b, ...bRows },
            y,
            0,
            rows,
            count,
          );
        for (const [first, aPlace] of places) {
          for (const [second, bPlace] of places) {
            const what = `${rows} * ${count}, ${first} - ${second}, ${[
              aStride,
              aStep,
              bStride,
              bStep,
            ]}`;
            for (const [to, target] of places) {
              const a = put(left, aPlace);
              const b = put(right, bPlace);
              const y = put(left, target);
              run(a, b, y);
              assertSameBits(y, expected, `${what} to ${to}`);
              assertMarginsStay(y, what);
              assertSameBits(a, left, what);
              assertSameBits(b, right, what);
            }
            if (aStride === count) {
              const a = put(left, aPlace);
              run(a, put(right, bPlace), a);
              assertSameBits(a, expected, `${what}, in place of the first`);
              assertMarginsStay(a, what);
            }
            if (bStride === count) {
              const b = put(right, bPlace);
              run(put(left, aPlace), b, b);
              assertSameBits(b, expected, `${what}, in place of the second`);
              assertMarginsStay(b, what);
            }
          }
        }
      }
    }
    for (const [where, place] of places) {
      const x = put(left, place);
      const a = { data: x, start: 0, stride: count, step: 1 };
      elementwise!.binary("multiply", a, { ...a }, x, 0, rows, count);
      assertSameBits(
        x,
        left.map((value) => value * value),
        `${where}, squares`,
      );
    }
  }
});
