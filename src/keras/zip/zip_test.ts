import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { zipSync } from "fflate";
import { FormatError } from "../../errors.ts";
import { BytesFile, readAll } from "../files/source_file.ts";
import { arraysBytes } from "../testing/arrays.ts";
import { openZip, openZipFile } from "./zip.ts";

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

const LOCAL_HEADER = 30;
const DIRECTORY_ENTRY = 46;

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

Deno.test("a damaged member is refused by its checksum", async () => {
  for (const level of [0, 9] as const) {
    const zip = zipSync({ a: encode("some content") }, { level });
    const archive = await openZip(zip);
    zip[LOCAL_HEADER + 1 + 4]! ^= 4;
    assertThrows(() => archive.read("a"), FormatError, "it is damaged");
  }
  const zip = zipSync({ a: encode("some content") }, { level: 0 });
  const archive = await openZip(zip);
  zip[LOCAL_HEADER + 1]! ^= 1;
  assertThrows(
    () => archive.read("a"),
    FormatError,
    "expected the checksum",
  );
});

/** Zeros, as few bytes as deflate can make of them, with a length that lies. */
function bomb(declared: number): Uint8Array {
  const zip = zipSync({ a: new Uint8Array(2 ** 20) }, { level: 9 });
  new DataView(zip.buffer).setUint32(directoryOf(zip) + 24, declared, true);
  return zip;
}

Deno.test("a member that expands to more than it declares is not kept", async () => {
  const archive = await openZip(bomb(1000));
  assertThrows(
    () => archive.read("a"),
    FormatError,
    "expected 1000 bytes, got more",
  );
});

Deno.test("members that share bytes are refused", async () => {
  const zip = zipSync({ a: encode("1".repeat(99)), b: encode("2") }, {
    level: 0,
  });
  const view = new DataView(zip.buffer);
  const second = directoryOf(zip) + DIRECTORY_ENTRY + 1;
  view.setUint32(second + 42, view.getUint32(second + 42, true) - 50, true);
  await assertRejects(
    () => openZip(zip),
    FormatError,
    "its members a and b overlap",
  );
});

Deno.test("names that leave the archive, or stand twice, are refused", async () => {
  for (const name of ["../a", "a/../../b", "a\\..\\b"]) {
    await assertRejects(
      () => openZip(zipSync({ [name]: encode("1") })),
      FormatError,
      "is outside of it",
    );
  }
  await assertRejects(
    () => openZip(zipSync({ "a": encode("1"), "./a": encode("2") })),
    FormatError,
    "it has a twice",
  );
});

Deno.test("encrypted members and unknown methods are refused", async () => {
  for (
    const [offset, value, message] of [
      [8, 1, "it is encrypted"],
      [10, 12, "with method 12"],
    ] as const
  ) {
    const zip = zipSync({ a: encode("1") }, { level: 0 });
    new DataView(zip.buffer).setUint16(directoryOf(zip) + offset, value, true);
    const archive = await openZip(zip);
    assertThrows(() => archive.read("a"), FormatError, message);
  }
});

Deno.test("folders are no members", async () => {
  const { names } = await openZip(
    zipSync({ "a/": new Uint8Array(), "a/b": encode("1") }),
  );
  assertEquals(names, ["a/b"]);
});

Deno.test("openZipFile() reads whole members and their heads", async () => {
  const members = {
    long: encode("0123456789".repeat(5000)),
    empty: new Uint8Array(0),
    short: encode("ab"),
  };
  for (const level of [0, 6] as const) {
    const file = await openZipFile(
      new BytesFile("x.zip", zipSync(members, { level })),
    );
    assertEquals(file.names, ["long", "empty", "short"]);
    for (const [name, content] of Object.entries(members)) {
      assertEquals(file.sizeOf(name), content.length);
      assertEquals(await file.read(name), content);
      assertEquals(await file.head(name, 128), content.subarray(0, 128));
    }
    await assertRejects(() => file.head("x", 1), FormatError, "it has long");
  }
});

Deno.test("open() reads small members whole, and large ones where they are", async () => {
  const small = encode("some text");
  // More than 1 MiB.
  const large = new Uint8Array(2 ** 20 + 5).fill(7);
  for (const level of [0, 6] as const) {
    const zip = zipSync({ small, large }, { level });
    const file = await openZipFile(new BytesFile("x", zip));
    for (const [name, content] of Object.entries({ small, large })) {
      const member = await file.open(name);
      assertEquals(member.size, content.length);
      assertEquals(await readAll(member), content);
      assertEquals(await member.read(2, 3), content.subarray(2, 5));
      assertEquals(member.readSync!(2, 3), content.subarray(2, 5));
      await assertRejects(
        () => member.read(content.length - 2, 3),
        FormatError,
        "it is truncated or damaged",
      );
    }
    await assertRejects(() => file.open("none"), FormatError, "it has small");
  }
  // A checksum is looked at where everything is read for it.
  const zip = zipSync({ small, large }, { level: 0 });
  for (const content of [small, large]) {
    const text = new TextDecoder("latin1").decode(content.subarray(0, 8));
    zip[new TextDecoder("latin1").decode(zip).indexOf(text) + 3]! ^= 1;
  }
  const damaged = await openZipFile(new BytesFile("x", zip));
  await assertRejects(() => damaged.open("small"), FormatError, "checksum");
  assertEquals((await damaged.open("large")).size, large.length);
});

Deno.test("damaged archives never give anything but a FormatError or the content", async () => {
  const content = encode("some content that repeats, some content");
  const whole = zipSync({ a: content, b: content }, { level: 6 });
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: whole.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, flip) => {
        const zip = whole.slice();
        zip[at]! ^= flip;
        const read = async () => {
          const file = await openZipFile(new BytesFile("x", zip));
          for (const name of file.names) {
            assertEquals(await file.read(name), content);
          }
        };
        try {
          await read();
        } catch (error) {
          assert(error instanceof FormatError, String(error));
        }
      },
    ),
    { numRuns: 500, seed: 3 },
  );
});

Deno.test("the wide records are read, and refused where they are damaged", async () => {
  const bytes = arraysBytes("zip64.npz");
  assertEquals((await openZip(bytes)).names.length, 4);
  const end = bytes.length - 22;
  const end64 = end - 20 - 56;
  for (
    const [at, message] of [
      [end - 20, "it is damaged or truncated"], // no locator
      [end - 20 + 15, "it is damaged or truncated"], // its offset
      [end64, "it is damaged or truncated"], // the signature
      [end64 + 39, "it declares more members than fit into it"], // the count
      [end64 + 47, "it is damaged or truncated"], // the directory's size
      [end64 + 55, "it is damaged or truncated"], // its offset
    ] as const
  ) {
    const damaged = bytes.slice();
    damaged[at]! ^= 0x7f;
    await assertRejects(() => openZip(damaged), FormatError, message);
  }
});

Deno.test("one of several parts is refused", async () => {
  const zip = zipSync({ a: encode("1") });
  new DataView(zip.buffer).setUint16(zip.length - 18, 1, true);
  await assertRejects(
    () => openZip(zip),
    FormatError,
    "it is one of several parts",
  );
});

Deno.test("an archive does not expand without bounds", async () => {
  // Three members that say that they have 33 MB, each of which alone would do.
  let state = 1;
  const noise = Uint8Array.from({ length: 70e3 }, () => {
    state = Math.imul(state, 1664525) + 1013904223 | 0;
    return state >>> 24;
  });
  const zip = zipSync({ a: noise, b: noise, c: noise });
  const view = new DataView(zip.buffer);
  for (let at = 0; at < zip.length - 46; at++) {
    if (view.getUint32(at, true) === 0x02014b50) {
      view.setUint32(at + 24, 33e6, true);
    }
  }
  const message = "99000000 bytes would come out of the archive";
  const own = "expected 33000000 bytes, got 70000";
  const archive = await openZip(zip);
  for (const name of ["a", "a", "b"]) {
    assertThrows(() => archive.read(name), FormatError, own);
  }
  assertThrows(() => archive.read("c"), FormatError, message);
  const file = await openZipFile(new BytesFile("it", zip));
  for (const name of ["a", "b"]) {
    await assertRejects(() => file.read(name), FormatError, own);
  }
  await assertRejects(() => file.read("c"), FormatError, message);
});
