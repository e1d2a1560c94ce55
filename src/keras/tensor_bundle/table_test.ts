import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { FormatError } from "../../errors.ts";
import {
  block,
  joined,
  latin1,
  rawBlock,
  table,
  tableOfBlocks,
  varint,
} from "../testing/bundle_builder.ts";
import { fixtureUrl } from "../testing/fixtures.ts";
import { byteString, isTableIndex, readTable } from "./table.ts";

function fixture(file: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(fixtureUrl(file, "keras_checkpoints"));
}

function refused(bytes: Uint8Array, message: string): void {
  assertThrows(() => readTable(bytes, "x.index"), FormatError, message);
}

const NOTHING = new Uint8Array();

Deno.test("what was written is read", () => {
  const keys = fc.uniqueArray(
    fc.uint8Array({ minLength: 1, maxLength: 12 }).map(byteString),
  );
  fc.assert(fc.property(keys, fc.integer({ min: 1, max: 5 }), (all, size) => {
    const entries = all.sort().map((key) => [key, latin1(key + key)] as const);
    const bytes = table(entries, size);
    assert(isTableIndex(bytes));
    assertEquals(
      [...readTable(bytes, "x.index")],
      entries.map(([key, value]) => [key, value]),
    );
  }));
});

Deno.test("compressed blocks are those that are not", () => {
  assertEquals(
    readTable(fixture("k24_snappy/ckpt.index"), "snappy"),
    readTable(fixture("k24_nested/ckpt.index"), "plain"),
  );
});

Deno.test("a table that ends anywhere is refused", () => {
  const bytes = fixture("k24_nested/ckpt.index");
  for (let length = 0; length < bytes.length; length++) {
    refused(bytes.subarray(0, length), "x.index");
  }
});

Deno.test("a table that begins anywhere is refused", () => {
  const bytes = fixture("k24_sequential/ckpt.index");
  for (let start = 1; start < bytes.length; start++) {
    refused(bytes.subarray(start), "x.index");
  }
});

Deno.test("a changed byte is refused, or of no consequence", () => {
  for (const file of ["k24_sequential/ckpt.index", "k24_snappy/ckpt.index"]) {
    const bytes = fixture(file);
    const entries = readTable(bytes, file);
    let harmless = 0;
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 + at % 255;
      try {
        assertEquals(readTable(changed, file), entries);
        harmless++;
      } catch (error) {
        assert(error instanceof FormatError, `byte ${at}: ${error}`);
      }
    }
    // The block without entries, of which nothing is read: 8 bytes, their
    // trailer, and in the footer its place and what is left of 40 bytes.
    assert(harmless <= 8 + 5 + 40, `${harmless} of ${bytes.length}`);
  }
});

Deno.test("keys that cannot be are refused", () => {
  const entry = (shared: number, unshared: string) => ({
    shared,
    unshared: latin1(unshared),
    value: NOTHING,
  });
  refused(
    tableOfBlocks([rawBlock([entry(0, "ab"), entry(3, "c")])]),
    "a key shares 3 bytes with the one before it, which has 2",
  );
  refused(
    tableOfBlocks([rawBlock([entry(1, "ab")])]),
    "a restart point has no whole key",
  );
  refused(
    tableOfBlocks([rawBlock([entry(0, "b"), entry(0, "a")])]),
    "its keys are not in order",
  );
  refused(
    tableOfBlocks([rawBlock([entry(0, "a"), entry(1, "")])]),
    "its keys are not in order",
  );
  refused(
    tableOfBlocks([block([["b", NOTHING]]), block([["a", NOTHING]])]),
    "its keys are not in order",
  );
});

Deno.test("keys that expand without end are refused", () => {
  const long = { shared: 0, unshared: new Uint8Array(4096), value: NOTHING };
  // Two bytes of each are new, so that they are in order.
  const next = (i: number) => ({
    shared: 4096 - 2,
    unshared: Uint8Array.of(i >> 8, i & 0xff),
    value: NOTHING,
  });
  const entries = Array.from({ length: 2 ** 14 }, (_, i) => next(i + 1));
  const bytes = tableOfBlocks([rawBlock([long, ...entries], 1e9)]);
  assert(bytes.length < 2 ** 17);
  refused(bytes, "its keys have more than 67108864 bytes");
  refused(
    tableOfBlocks([block([["x".repeat(4097), NOTHING]])]),
    "a key has 4097 bytes, more than the 4096 that a name can have",
  );
});

Deno.test("restart points that are none are refused", () => {
  const good = block([["a", NOTHING], ["b", NOTHING]], 1);
  const change = (at: number, value: number): Uint8Array => {
    const bytes = good.slice();
    new DataView(bytes.buffer).setUint32(good.length + at, value, true);
    return tableOfBlocks([bytes]);
  };
  assertEquals(readTable(change(-4, 2), "x.index").size, 2);
  refused(change(-4, 0), "restart points");
  refused(change(-4, 1e9), "restart points");
  refused(change(-8, 3), "restart points that are no entries");
  refused(change(-12, 4), "first restart point is not 0");
  refused(tableOfBlocks([new Uint8Array(3)]), "a block has no restart points");
});

Deno.test("blocks that overlap are refused", () => {
  const data = block([["a", NOTHING]]);
  const place = Uint8Array.of(0, data.length);
  refused(
    withIndex(tableOfBlocks([data]), block([["a", place], ["b", place]], 1)),
    "its blocks overlap",
  );
});

/** A table with another index block behind all others. */
function withIndex(bytes: Uint8Array, index: Uint8Array): Uint8Array {
  const body = bytes.subarray(0, bytes.length - 48);
  const stored = tableOfBlocks([index]).subarray(0, index.length + 5);
  const footer = new Uint8Array(48);
  footer.set([0, 0, ...varint(body.length), ...varint(index.length)]);
  footer.set(bytes.subarray(-8), 40);
  return joined(body, stored, footer);
}

Deno.test("an unknown compression is refused", () => {
  refused(
    tableOfBlocks([block([["a", NOTHING]])], 4),
    "has the compression 4, expected 0 (none) or 1 (snappy)",
  );
});

Deno.test("any bytes before a magic number are refused or read", () => {
  const magic = table([["a", NOTHING]]).subarray(-8);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        readTable(joined(bytes, magic), "x.index");
      } catch (error) {
        assert(error instanceof FormatError, String(error));
      }
    }),
  );
});
