import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { joined, latin1, varint } from "../testing/bundle_builder.ts";
import { expandSnappy } from "./snappy.ts";

function expand(...bytes: (number | Uint8Array)[]): string {
  const parts = bytes.map((part) => typeof part === "number" ? [part] : part);
  return new TextDecoder("latin1").decode(
    expandSnappy(joined(...parts), "the test"),
  );
}

Deno.test("literals of every length", () => {
  assertEquals(expand(3, 2 << 2, latin1("abc")), "abc");
  for (const length of [60, 61, 256, 257, 65536, 65537]) {
    const text = latin1("x".repeat(length));
    const bytes = length <= 60
      ? 0
      : length <= 256
      ? 1
      : length <= 65536
      ? 2
      : 3;
    const tag = bytes === 0 ? length - 1 : 59 + bytes;
    const digits = Array.from(
      { length: bytes },
      (_, i) => (length - 1) >>> (8 * i) & 0xff,
    );
    const expanded = expandSnappy(
      joined(varint(length), [tag << 2, ...digits], text),
      "the test",
    );
    assertEquals(expanded, text);
  }
});

Deno.test("copies of all three kinds, also of what they write", () => {
  const abcd = [3 << 2, ...latin1("abcd")];
  assertEquals(expand(8, ...abcd, 0 << 2 | 1, 4), "abcdabcd");
  assertEquals(expand(7, ...abcd, 2 << 2 | 2, 3, 0), "abcdbcd");
  assertEquals(expand(6, ...abcd, 1 << 2 | 3, 4, 0, 0, 0), "abcdab");
  assertEquals(expand(12, ...abcd, 4 << 2 | 1, 1), "abcddddddddd");
  assertEquals(
    expandSnappy(
      joined(
        varint(300 + 4),
        [61 << 2, 0x2b, 0x01],
        latin1(`abcd${"-".repeat(296)}`),
        [1 << 5 | 1, 300 - 256],
      ),
      "the test",
    ).slice(-4),
    latin1("abcd"),
  );
});

Deno.test("what is damaged is refused", () => {
  const refused = (bytes: number[], message: string) =>
    assertThrows(() => expand(...bytes), FormatError, message);
  refused([], "expected a number");
  refused([4, 2 << 2, 1, 2, 3], "expected 4 bytes, got 3");
  refused([2, 2 << 2, 1, 2, 3], "it has more than 2 bytes");
  refused([3, 3 << 2, 1, 2, 3], "expected 4 bytes at byte 2, 3 are left");
  refused([8, 0, 1, 1, 0], "a copy from 0 bytes before 1");
  refused([8, 0, 1, 1, 2], "a copy from 2 bytes before 1");
  refused([3, 0, 1, 0 << 2 | 1, 1], "it has more than 3 bytes");
});

Deno.test("a bomb is refused before there is room for it", () => {
  assertThrows(
    () => expandSnappy(joined(varint(2 ** 40), [0, 0]), "the test"),
    FormatError,
    "it declares 1099511627776 bytes, more than can be in 8",
  );
});

Deno.test("any bytes are expanded or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    try {
      const expanded = expandSnappy(bytes, "the test");
      assertEquals(expanded.length <= bytes.length * 64 / 3, true);
    } catch (error) {
      assertEquals(error instanceof FormatError, true);
    }
  }));
});
