import { assertEquals } from "@std/assert";
import { WireWriter } from "./wire.ts";

/** What a writer wrote, in hexadecimal. */
function written(write: (writer: WireWriter) => void): string {
  const writer = new WireWriter();
  write(writer);
  return writer.finish().toHex();
}

// From https://protobuf.dev/programming-guides/encoding/, and by its rules.
const CASES: readonly [string, (writer: WireWriter) => void, string][] = [
  ["an integer", (w) => w.integer(1, 150), "089601"],
  ["zero", (w) => w.integer(1, 0), "0800"],
  ["the last integer of one byte", (w) => w.integer(1, 127), "087f"],
  ["the first integer of two bytes", (w) => w.integer(1, 128), "088001"],
  ["beyond 32 bits", (w) => w.integer(1, 2 ** 35), "08808080808001"],
  [
    "the largest safe integer",
    (w) => w.integer(1, Number.MAX_SAFE_INTEGER),
    "08ffffffffffffff0f",
  ],
  ["a negative integer", (w) => w.integer(1, -1), "08ffffffffffffffffff01"],
  [
    "the smallest safe integer",
    (w) => w.integer(1, Number.MIN_SAFE_INTEGER),
    "0881808080808080f0ff01",
  ],
  ["a field number of two bytes", (w) => w.integer(16, 1), "800101"],
  [
    "the largest field number",
    (w) => w.integer(2 ** 29 - 1, 1),
    "f8ffffff0f01",
  ],
  [
    "packed integers",
    (w) => w.integers(6, [3, 270, 86942]),
    "3206038e029ea705",
  ],
  ["no packed integers", (w) => w.integers(6, []), ""],
  ["a float", (w) => w.float(2, -1.5), "150000c0bf"],
  ["a rounded float", (w) => w.float(2, 0.001), "156f12833a"],
  ["a text", (w) => w.string(2, "testing"), "120774657374696e67"],
  ["a text beyond ASCII", (w) => w.string(2, "β"), "1202ceb2"],
  ["no bytes", (w) => w.bytes(3, new Uint8Array()), "1a00"],
  ["an empty message", (w) => w.message(3, () => {}), "1a00"],
  [
    "a message",
    (w) => w.message(3, (inner) => inner.integer(1, 150)),
    "1a03089601",
  ],
  [
    "fields before, in and after messages that have bytes",
    (w) => {
      w.integer(1, 1);
      w.message(2, (outer) => {
        outer.integer(1, 2);
        outer.message(2, (inner) => {
          inner.bytes(1, Uint8Array.of(3, 4));
          inner.integer(2, 5);
        });
        outer.integer(3, 6);
      });
      w.integer(3, 7);
    },
    "0801" + "120c" + "0802" + "1206" + "0a020304" + "1005" + "1806" + "1807",
  ],
];

for (const [title, write, expected] of CASES) {
  Deno.test(`WireWriter writes ${title}`, () => {
    assertEquals(written(write), expected);
  });
}

Deno.test("WireWriter reads bytes when it finishes, once", () => {
  const bytes = Uint8Array.of(1);
  const writer = new WireWriter();
  writer.bytes(1, bytes);
  const first = writer.finish();
  bytes[0] = 2;
  assertEquals(first.toHex(), "0a0101");
  assertEquals(writer.finish().toHex(), "0a0102");
});
