import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError } from "./errors.ts";
import {
  bytesPerElement,
  castTensor,
  createData,
  elementCount,
  type ElementType,
  halfBits,
  holdsType,
  isElementType,
  tensor,
  toFloats,
} from "./tensor.ts";

Deno.test("tensor() rounds plain numbers to float32", () => {
  const x = tensor([0.1, 2, -3], [3]);
  assertEquals(x.type, "float32");
  assertEquals(x.data, new Float32Array([0.1, 2, -3]));
});

Deno.test("tensor() uses a fitting typed array as it is", () => {
  const cases: [ElementType | undefined, ElementType, ArrayLike<number>][] = [
    [undefined, "float32", new Float32Array(6)],
    [undefined, "float64", new Float64Array(6)],
    [undefined, "float16", new Float16Array(6)],
    ["float16", "float16", new Uint16Array(6)],
    ["bfloat16", "bfloat16", new Uint16Array(6)],
  ];
  for (const [given, type, data] of cases) {
    const x = tensor(data, [2, 3], given);
    assertEquals(x.type, type);
    assertEquals(x.dims, [2, 3]);
    assertStrictEquals<unknown>(x.data, data);
  }
});

Deno.test("tensor() converts what does not fit", () => {
  const x = new Float64Array([0.1, 1e300]);
  assertEquals(
    tensor(x, [2], "float32").data,
    new Float32Array([0.1, Infinity]),
  );
  assertEquals(
    tensor([1, -2], [2], "float16").data,
    new Uint16Array([0x3c00, 0xc000]),
  );
  assertEquals(
    tensor(new Float16Array([1, -2]), [2], "bfloat16").data,
    new Uint16Array([0x3f80, 0xc000]),
  );
  assertEquals(
    tensor(new Int8Array([1, -2]), [2]).data,
    new Float32Array([1, -2]),
  );
});

Deno.test("tensor() copies the dims", () => {
  const dims = [2];
  const x = tensor([1, 2], dims);
  dims[0] = 3;
  assertEquals(x.dims, [2]);
});

Deno.test("tensor() takes scalars and empty tensors", () => {
  assertEquals(tensor([1], []).dims, []);
  assertEquals(tensor([], [0, 5]).data.length, 0);
});

Deno.test("tensor() refuses a wrong element count", () => {
  assertThrows(
    () => tensor([1, 2, 3], [2, 2]),
    ShapeError,
    "shape [2, 2]: expected 4 values, got 3",
  );
  assertThrows(() => tensor([1], [0]), ShapeError, "expected 0 values, got 1");
});

Deno.test("tensor() refuses extents that are no extents", () => {
  for (const extent of [-1, 1.5, NaN, Infinity, "2" as unknown as number]) {
    assertThrows(() => tensor([1], [extent]), ShapeError, "non-negative");
  }
});

Deno.test("tensor() refuses a Uint16Array that is no bit pattern", () => {
  const bits = new Uint16Array(1);
  assertThrows(() => tensor(bits, [1]), OptionError, "without a type");
  assertThrows(() => tensor(bits, [1], "float32"), OptionError, "bits");
});

Deno.test("tensor() refuses unknown types, also such as objects inherit", () => {
  for (const type of ["int32", "toString", "", null]) {
    assertThrows(
      () => tensor([1], [1], type as ElementType),
      OptionError,
      'expected "float32", "float64", "float16", "bfloat16"',
    );
  }
});

Deno.test("elementCount() multiplies, and knows its limit", () => {
  assertEquals(elementCount([]), 1);
  assertEquals(elementCount([2, 3, 4]), 24);
  assertEquals(elementCount([2 ** 40, 0]), 0);
  assertThrows(() => elementCount([2 ** 30, 2 ** 30]), ShapeError, "2^53");
});

Deno.test("element types know their arrays", () => {
  assertEquals(isElementType("float16"), true);
  assertEquals(isElementType("constructor"), false);
  assertEquals(isElementType(undefined), false);
  assertEquals(
    (["float64", "float32", "float16", "bfloat16"] as const).map(
      bytesPerElement,
    ),
    [8, 4, 2, 2],
  );
  assertEquals(createData("bfloat16", 2), new Uint16Array(2));
  assertEquals(holdsType("float16", new Float16Array(1)), true);
  assertEquals(holdsType("bfloat16", new Float16Array(1)), false);
  assertEquals(holdsType("float32", [1]), false);
});

Deno.test("halfBits() is a view, also of a part", () => {
  const data = new Float16Array([1, 2, 3]).subarray(1);
  const bits = halfBits(data);
  assertEquals([...bits], [0x4000, 0x4200]);
  bits[0] = 0x3c00;
  assertEquals(data[0], 1);
});

Deno.test("castTensor() and toFloats() widen exactly and round once", () => {
  const x = tensor([1.5, -2, 65504], [3], "float16");
  assertStrictEquals(castTensor(x, "float16"), x);
  assertEquals(
    castTensor(x, "float64").data,
    new Float64Array([1.5, -2, 65504]),
  );
  assertEquals(
    toFloats(x, new Float32Array(3)),
    new Float32Array([1.5, -2, 65504]),
  );
  assertEquals(
    castTensor(tensor(new Float64Array([1e6]), [1]), "float16").data,
    new Uint16Array([0x7c00]),
  );
});
