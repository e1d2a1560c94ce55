import { assertEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { checkGlobalHeaps, GlobalHeaps } from "./heap.ts";

/** A heap of objects of some sizes, and of free space up to its size. */
function heap(sizes: readonly number[], size = 4096): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode("GCOL\x01"));
  view.setBigUint64(8, BigInt(size), true);
  let at = 16;
  sizes.forEach((length, i) => {
    view.setUint16(at, i + 1, true);
    view.setBigUint64(at + 8, BigInt(length), true);
    at += 16 + 8 * Math.ceil(length / 8);
  });
  if (at + 16 <= size) view.setBigUint64(at + 8, BigInt(size - at), true);
  return bytes;
}

/** A file with a heap at a place. */
function fileWith(
  bytes: Uint8Array,
  offset: number,
  behind = 100,
): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(offset + bytes.length + behind);
  file.set(bytes, offset);
  return file;
}

function heapsOf(file: Uint8Array): GlobalHeaps {
  return new GlobalHeaps({
    size: file.length,
    read: (offset, length) => file.slice(offset, offset + length),
  });
}

Deno.test("heaps whose objects fill them are fine, of any size", () => {
  for (
    const bytes of [
      heap([]),
      heap([1, 8, 9, 0]),
      heap([4096 - 32]),
      // Of several pages, and with objects across their ends.
      heap([4000, 5000, ...Array(600).fill(1)], 40_000),
    ]
  ) {
    checkGlobalHeaps(fileWith(bytes, 48));
  }
  // The letters alone, and what is cut off, are nothing.
  checkGlobalHeaps(new TextEncoder().encode("GCOL....GCOL"));
  checkGlobalHeaps(heap([]).subarray(0, 12));
});

Deno.test("heaps whose objects do not are refused", () => {
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = heap([8, 8]);
    new DataView(bytes.buffer).setBigUint64(at, BigInt(value), true);
    return fileWith(bytes, 96);
  };
  for (
    const file of [
      // An object that ends beyond the heap, one that is a little longer, free
      // space that ends too soon, and a heap that is longer than the file.
      changed(16 + 8, 5000),
      changed(16 + 8, 24),
      changed(16 + 48 + 8, 100),
      changed(8, 1e6),
    ]
  ) {
    assertThrows(
      () => checkGlobalHeaps(file),
      FormatError,
      "the global heap at byte 96 is damaged",
    );
  }
});

Deno.test("a damaged heap is found with its first byte, however it is read", () => {
  const bytes = heap([8]);
  bytes[24] = 200;
  bytes[25] = 100;
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 50 }),
    fc.integer({ min: 1, max: 60 }),
    (offset, step) => {
      const file = fileWith(bytes, offset);
      const heaps = heapsOf(file);
      // In parts of any size, up to the one with the first byte.
      for (let at = 0; at <= offset; at += step) {
        const part = file.subarray(at, at + step);
        if (at + part.length <= offset) heaps.check(at, part);
        else {
          assertThrows(() => heaps.check(at, part), FormatError);
          // And each time again.
          assertThrows(() => heaps.check(at, part), FormatError);
        }
      }
    },
  ));
});

Deno.test("a heap that is fine is looked at once", () => {
  const file = fileWith(heap([8]), 40);
  let reads = 0;
  const heaps = new GlobalHeaps({
    size: file.length,
    read(offset, length) {
      reads++;
      return file.subarray(offset, offset + length);
    },
  });
  heaps.check(0, file);
  const once = reads;
  heaps.check(0, file);
  assertEquals(reads, once);
});
