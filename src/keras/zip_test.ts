import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { zipSync } from "fflate";
import { FormatError } from "../errors.ts";
import { openZip } from "./zip.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const encode = (value: string): Uint8Array => new TextEncoder().encode(value);

Deno.test("openZip() reads stored and deflated members", async () => {
  const content = encode("content ".repeat(100));
  for (const level of [0, 6] as const) {
    const archive = await openZip(zipSync({ a: content, "b/c": encode("x") }, {
      level,
    }));
    assertEquals(archive.names, ["a", "b/c"]);
    assertEquals(archive.read("a"), content);
    assertEquals(text(archive.read("b/c")), "x");
  }
});

Deno.test("openZip() normalizes names", async () => {
  const archive = await openZip(zipSync({
    "./a": encode("1"),
    "b\\c": encode("2"),
    "/d//e": encode("3"),
  }));
  assertEquals(archive.names, ["a", "b/c", "d/e"]);
  assertEquals(text(archive.read("b/c")), "2");
});

Deno.test("openZip() names the members when one is missing", async () => {
  const archive = await openZip(zipSync({ a: encode("1"), b: encode("2") }));
  assertThrows(
    () => archive.read("c"),
    FormatError,
    "Cannot read c in the zip archive: it has a, b",
  );
});

Deno.test("openZip() refuses a truncated archive", async () => {
  const whole = zipSync({ a: encode("content") });
  for (let length = 0; length < whole.length; length++) {
    await assertRejects(
      () => openZip(whole.subarray(0, length)),
      FormatError,
      "it is damaged or truncated",
    );
  }
});

/** The offset of the directory's entry of the first member. */
function directoryOf(zip: Uint8Array): number {
  return new DataView(zip.buffer).getUint32(zip.length - 6, true);
}

Deno.test("a member that declares too much is not expanded", async () => {
  const zip = zipSync({ a: encode("x".repeat(5000)) }, { level: 9 });
  new DataView(zip.buffer).setUint32(directoryOf(zip) + 24, 0xfffffff0, true);
  const archive = await openZip(zip);
  assertThrows(
    () => archive.read("a"),
    FormatError,
    "it declares 4294967280 bytes",
  );
});

Deno.test("a member that declares another size than it has is refused", async () => {
  const zip = zipSync({ a: encode("x".repeat(5000)) }, { level: 9 });
  new DataView(zip.buffer).setUint32(directoryOf(zip) + 24, 5001, true);
  const archive = await openZip(zip);
  assertThrows(() => archive.read("a"), FormatError, "expected 5001 bytes");
});

Deno.test("a stored member that is longer than the archive is refused", async () => {
  const zip = zipSync({ a: encode("content") }, { level: 0 });
  const view = new DataView(zip.buffer);
  view.setUint32(directoryOf(zip) + 20, 70000, true);
  view.setUint32(directoryOf(zip) + 24, 70000, true);
  const archive = await openZip(zip);
  assertThrows(() => archive.read("a"), FormatError, "it declares 70000 bytes");
});

Deno.test("an archive that declares more members than fit is refused", async () => {
  const zip = zipSync({ a: encode("1") });
  new DataView(zip.buffer).setUint16(zip.length - 14, 0xffff, true);
  await assertRejects(() => openZip(zip), FormatError);
});
