import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../errors.ts";
import { WireWriter } from "./wire.ts";
import { readFields, type WireField, WireType } from "./wire_reader.ts";

function only(hex: string): WireField {
  const fields = [...readFields(Uint8Array.fromHex(hex))];
  assertEquals(fields.length, 1);
  return fields[0]!;
}

// From https://protobuf.dev/programming-guides/encoding/, and by its rules.
const VALUES: readonly [
  string,
  string,
  (field: WireField) => unknown,
  unknown,
][] = [
  ["an integer", "089601", (f) => f.integer(), 150],
  [
    "an integer in more bytes than it needs",
    "0896818000",
    (f) => f.integer(),
    150,
  ],
  ["-1", "08ffffffffffffffffff01", (f) => f.integer(), -1],
  [
    "the largest safe integer",
    "08ffffffffffffff0f",
    (f) => f.integer(),
    Number.MAX_SAFE_INTEGER,
  ],
  [
    "the least int64",
    "0880808080808080808001",
    (f) => f.bigint(),
    -(2n ** 63n),
  ],
  ["packed integers", "3206038e029ea705", (f) => f.integers(), [3, 270, 86942]],
  ["one integer of a list", "300a", (f) => f.integers(), [10]],
  ["packed 64-bit integers", "320aFFFFFFFFFFFFFFFFFF01", (f) => f.bigints(), [
    -1n,
  ]],
  ["a float", "150000c0bf", (f) => f.float(), -1.5],
  ["packed floats", "22080000c0bf0000803f", (f) => [...f.floats()], [-1.5, 1]],
  ["one float of a list", "250000803f", (f) => [...f.floats()], [1]],
  ["packed doubles", "5208000000000000f03f", (f) => [...f.doubles()], [1]],
  ["one double of a list", "51000000000000f03f", (f) => [...f.doubles()], [1]],
  ["a fixed32", "35ffffffff", (f) => f.fixed32(), 2 ** 32 - 1],
  ["a text beyond ASCII", "1202ceb2", (f) => f.string(), "β"],
  ["bytes", "1a020304", (f) => [...f.data()], [3, 4]],
  [
    "a message",
    "1a03089601",
    (f) => [...f.fields()].map((inner) => inner.integer()),
    [150],
  ],
];

for (const [title, hex, read, expected] of VALUES) {
  Deno.test(`WireField reads ${title}`, () => {
    assertEquals(read(only(hex)), expected);
  });
}

const BAD: readonly [string, string, (field: WireField) => unknown][] = [
  ["a tag that is cut off", "80", (f) => f],
  ["a number that is cut off", "0896", (f) => f],
  ["a number of eleven bytes", "08" + "ff".repeat(10) + "01", (f) => f],
  ["a length beyond the end", "1a0503", (f) => f],
  ["a length of 2^63", "1affffffffffffffff7f00", (f) => f],
  ["a float that is cut off", "150000c0", (f) => f],
  ["a double that is cut off", "1100000000", (f) => f],
  ["field number 0", "0001", (f) => f],
  ["wire type 6", "0e", (f) => f],
  ["a group that is not closed", "0b0801", (f) => f],
  ["a group that is closed by another", "0b14", (f) => f],
  ["a group that did not begin", "0c", (f) => f],
  ["an integer of 2^53", "0880808080808080808001", (f) => f.integer()],
  ["a float as an integer", "150000c0bf", (f) => f.integer()],
  ["an integer as a text", "0801", (f) => f.string()],
  ["a text that is no UTF-8", "1201ff", (f) => f.string()],
  ["packed floats that end within one", "22030000c0", (f) => f.floats()],
];

for (const [title, hex, read] of BAD) {
  Deno.test(`WireField refuses ${title}`, () => {
    assertThrows(() => read(only(hex)), FormatError);
  });
}

Deno.test("readFields steps over groups, one in another", () => {
  const fields = [
    ...readFields(Uint8Array.fromHex("0b" + "13080114" + "0c" + "1001")),
  ];
  assertEquals(
    fields.map(({ number, wireType, start }) => [number, wireType, start]),
    [[1, WireType.startGroup, 0], [2, WireType.varint, 6]],
  );
});

Deno.test("readFields tells where fields stand", () => {
  const [field] = readFields(Uint8Array.fromHex("00089601").subarray(1));
  assertEquals([field!.start, field!.from, field!.to], [0, 1, 3]);
});

Deno.test("a million groups are read in bounded time", () => {
  // Each is stepped over once, not once per level.
  const nested = new Uint8Array(2_000_000);
  nested.fill(0x0b, 0, 1_000_000).fill(0x0c, 1_000_000);
  assertThrows(() => [...readFields(nested)], FormatError, "too deep");
});

Deno.test("what WireWriter writes is read", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 2 ** 29 - 1 }),
    fc.maxSafeInteger(),
    fc.array(fc.maxSafeInteger(), { minLength: 1 }),
    fc.float(),
    fc.string({ unit: "grapheme" }),
    (number, integer, integers, float, text) => {
      const writer = new WireWriter();
      writer.integer(number, integer);
      writer.integers(number, integers);
      writer.float(number, float);
      writer.string(number, text);
      const [a, b, c, d] = readFields(writer.finish());
      assertEquals(a!.number, number);
      assertEquals(a!.integer(), integer === 0 ? 0 : integer);
      assertEquals(
        b!.integers(),
        integers.map((value) => value === 0 ? 0 : value),
      );
      assertEquals(c!.float(), float);
      assertEquals(d!.string(), text);
    },
  ));
});

Deno.test("no bytes make readFields throw anything but a FormatError", () => {
  function readAll(fields: Iterable<WireField>, depth: number): void {
    for (const field of fields) {
      if (field.wireType === WireType.lengthDelimited && depth < 5) {
        readAll(field.fields(), depth + 1);
      }
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      try {
        readAll(readFields(bytes), 0);
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});
