import { assert, assertEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import type { ElementType, Tensor } from "../tensor.ts";
import { allocate } from "./allocate.ts";
import { layoutOf } from "./layout.ts";
import { ELEMENT_TYPES } from "./testing/cases.ts";
import { randomUint32 } from "./testing/random.ts";
import { createWasmKernels } from "./wasm.ts";
import { ArenaAllocator } from "./wasm_arena.ts";
import { FULL_FORM } from "./wasm.ts";
import { compileEmbedded } from "./wasm_module.ts";

const MEGABYTE = 1024 * 1024;

Deno.test("allocate() gives zeroed tensors of each type, 16-byte aligned", () => {
  for (const type of ELEMENT_TYPES) {
    using first = allocate([3], type);
    using second = allocate([2, 5], type);
    assertEquals(second.type, type);
    assertEquals(second.dims, [2, 5]);
    assertEquals([...second.data], Array(10).fill(0));
    assertEquals(first.data.byteOffset % 16, 0);
    assertEquals(second.data.byteOffset % 16, 0);
  }
});

Deno.test("allocate() is float32 by default, and takes scalars and nothing", () => {
  using scalar = allocate([]);
  assertEquals(scalar.type, "float32");
  assertEquals(scalar.data.length, 1);
  using empty = allocate([0, 3]);
  assertEquals(empty.data.length, 0);
});

Deno.test("allocate() refuses shapes and types that are none", () => {
  assertThrows(() => allocate([-1]), ShapeError);
  assertThrows(() => allocate([1.5]), ShapeError);
  assertThrows(
    () => allocate([1], "int8" as ElementType),
    OptionError,
    'expected "float32", "float64", "float16", "bfloat16"',
  );
});

Deno.test("an input and its output share one memory", () => {
  for (const megabytes of [1, 7, 40]) {
    using x = allocate([megabytes, MEGABYTE / 4]);
    using y = allocate([megabytes, MEGABYTE / 4]);
    assert(x.data.buffer === y.data.buffer, `${megabytes} MB`);
  }
});

Deno.test("they do so wherever the one before them lies", () => {
  const allocator = new ArenaAllocator(compileEmbedded(FULL_FORM));
  const sizes = [1.5, 3.1, 0.4, 2.3, 5, 0.01, 0.9, 7, 3, 30, 2];
  for (const size of sizes.map((megabytes) => megabytes * MEGABYTE)) {
    const x = allocator.allocate(size);
    const y = allocator.allocate(size);
    assert(x!.buffer === y!.buffer, `${size} bytes`);
  }
});

Deno.test("data stays valid while other tensors come and go", () => {
  using x = allocate([1000]);
  const data = x.data;
  data.fill(7);
  const others: Disposable[] = [];
  for (let i = 1; i <= 30; i++) others.push(allocate([i, MEGABYTE / 8]));
  for (const other of others) other[Symbol.dispose]();
  assertEquals(x.data, data);
  assert(data.every((value) => value === 7));
});

Deno.test("a disposed tensor has no data, and may be disposed of again", () => {
  const x = allocate([4]);
  x[Symbol.dispose]();
  x[Symbol.dispose]();
  assertThrows(() => x.data, OptionError, "Cannot use a disposed tensor");
});

Deno.test("memory is reused, and zeroed", () => {
  const x = allocate([1000]);
  const { byteOffset, buffer } = x.data;
  x.data.fill(5);
  x[Symbol.dispose]();
  using y = allocate([500]);
  using z = allocate([500]);
  assert(y.data.buffer === buffer && y.data.byteOffset === byteOffset);
  assert(y.data.every((value) => value === 0));
  assert(z.data.every((value) => value === 0));
});

Deno.test("disposing twice does not free the next tensor", () => {
  const x = allocate([1000]);
  x[Symbol.dispose]();
  using y = allocate([1000]);
  x[Symbol.dispose]();
  using z = allocate([1000]);
  y.data.fill(1);
  assert(z.data.every((value) => value === 0));
});

Deno.test("pieces never overlap, whatever the order of their release", () => {
  const allocator = new ArenaAllocator(compileEmbedded(FULL_FORM));
  const next = randomUint32(7);
  const live: { bytes: Uint8Array; mark: number; release: () => void }[] = [];
  for (let i = 0; i < 3000; i++) {
    if (live.length > 0 && next() % 5 < 2) {
      const [piece] = live.splice(next() % live.length, 1);
      assert(piece!.bytes.every((byte) => byte === piece!.mark));
      piece!.release();
    } else {
      const size = 1 + next() % (next() % 10 === 0 ? 300_000 : 3000);
      const { buffer, byteOffset, release } = allocator.allocate(size)!;
      const bytes = new Uint8Array(buffer, byteOffset, size);
      assert(bytes.every((byte) => byte === 0));
      const mark = 1 + next() % 255;
      live.push({ bytes: bytes.fill(mark), mark, release });
    }
  }
  for (const { release } of live) release();
  // All gaps have joined again: the smallest arena is free as a whole.
  const buffers = new Set(
    [1, 2, 3, 4].map(() => allocator.allocate(MEGABYTE)!.buffer),
  );
  assertEquals(buffers.size, 1);
});

Deno.test("large memory is let go, one tensor after another", () => {
  // Each takes about 10 GB of address space, with its guard regions: more in
  // all than a process has.
  for (let i = 0; i < 200; i++) {
    using x = allocate([64, MEGABYTE]);
    x.data[i] = i;
  }
});

Deno.test("memory that cannot be had gives an ordinary array, or a RangeError", () => {
  const allocator = new ArenaAllocator(compileEmbedded(FULL_FORM));
  assertEquals(allocator.allocate(5 * 1024 * MEGABYTE), undefined);
  assertThrows(() => allocate([2 ** 52]), RangeError);
});

Deno.test("tensors of two memories work together", () => {
  const one = createWasmKernels();
  const other = createWasmKernels();
  const view = (kernels: typeof one, count: number): Float32Array => {
    const { buffer, byteOffset } = kernels.allocate!(4 * count)!;
    return new Float32Array(buffer, byteOffset, count);
  };
  // Several chunks, with the parameters in slices.
  const dims = [3, 20_003];
  const count = 3 * 20_003;
  const x = view(one, count).map((_, i) => i % 100);
  const input = view(one, count);
  input.set(x);
  const output = view(other, count);
  const a = new Float32Array(20_003).fill(2);
  const b = Float32Array.from({ length: 20_003 }, (_, c) => c);
  createWasmKernels().affine(
    "float32",
    layoutOf(dims, [1]),
    input,
    output,
    a,
    b,
  );
  assert(output.every((value, i) => value === x[i]! * 2 + i % 20_003));
  assertEquals(input, x);
});

Deno.test("an allocated tensor can be spread like any tensor", () => {
  using x = allocate([2]);
  const copy: Tensor = { ...x };
  assertEquals(copy.data, new Float32Array(2));
});
