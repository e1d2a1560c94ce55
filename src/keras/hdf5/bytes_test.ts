import { assert, assertEquals, assertRejects } from "@std/assert";
import * as h5wasm from "h5wasm";
import { FormatError } from "../../errors.ts";
import { BytesFile, type SourceFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import { WatchedFile } from "../testing/bundle_builder.ts";
import { fixtureBytes } from "../testing/fixtures.ts";
import { BLOCK_BYTES, Hdf5Bytes } from "./bytes.ts";
import { type Hdf5Dataset, openHdf5 } from "./file.ts";
import { loadH5wasm, mount } from "./h5wasm.ts";

/** Bytes of which every part differs from every other. */
function content(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 2654435761) >>> 13;
  return bytes;
}

/** Parts of a file of five blocks and a little, in no order. */
const PARTS = [
  [0, 0],
  [3, 8],
  [2 * BLOCK_BYTES - 3, 8],
  [5 * BLOCK_BYTES - 1, 18],
  [BLOCK_BYTES, BLOCK_BYTES],
  [1, 4 * BLOCK_BYTES],
  [0, 5 * BLOCK_BYTES + 17],
  // Beyond the end there is nothing.
  [5 * BLOCK_BYTES + 10, 20],
  [6 * BLOCK_BYTES, 20],
] as const;

Deno.test("parts are the file's bytes, with and without waiting", async () => {
  const bytes = content(5 * BLOCK_BYTES + 17);
  const file = new WatchedFile("it", bytes);
  for (const source of [file, new BytesFile("it", bytes)]) {
    const parts = new Hdf5Bytes(source);
    assertEquals(parts.isAtHand, source !== file);
    for (const [offset, length] of PARTS) {
      assertEquals(
        await parts.settled(() => parts.read(offset, length)),
        bytes.subarray(offset, offset + length),
      );
    }
  }
  // Each block once.
  const read = file.reads.reduce((sum, [, length]) => sum + length, 0);
  assertEquals(read, bytes.length);
});

Deno.test("more blocks than are kept are read again", async () => {
  // 16 MiB are kept.
  const bytes = content(300 * BLOCK_BYTES);
  for (
    const source of [new WatchedFile("it", bytes), new BytesFile("it", bytes)]
  ) {
    const parts = new Hdf5Bytes(source);
    for (let round = 0; round < 2; round++) {
      for (let at = 0; at < bytes.length; at += 7 * BLOCK_BYTES) {
        assertEquals(
          await parts.settled(() => parts.read(at + 1, 5)),
          bytes.subarray(at + 1, at + 6),
        );
      }
      // All at once: more than is kept.
      const whole = await parts.settled(() => parts.read(0, bytes.length));
      assertEquals(whole.length, bytes.length);
      // A prime, so that all places in blocks are looked at.
      for (let i = 0; i < bytes.length; i += 1009) {
        assert(whole[i] === bytes[i]);
      }
    }
  }
});

Deno.test("what is not there any more is an error, and not waited for", async () => {
  const failing: SourceFile = {
    name: "it",
    size: 10,
    read: () => Promise.reject(new FormatError("Cannot read it: gone")),
  };
  await assertRejects(
    () => openHdf5(failing),
    FormatError,
    "Cannot read it: gone",
  );
  await assertRejects(
    () =>
      openHdf5({
        ...failing,
        readSync() {
          throw new FormatError("Cannot read it: gone");
        },
      }),
    FormatError,
    "Cannot read it: gone",
  );
});

Deno.test("chunks of a large dataset are waited for in few turns", async () => {
  const { FS } = await h5wasm.ready;
  const count = 2 ** 20;
  // Bits that do not compress, so that the chunks fill some MiB.
  const data = new Float32Array(
    new Uint32Array(count).map((_, i) => Math.imul(i, 2654435761) >>> 2),
  );
  const file = new h5wasm.File("/chunks.h5", "w");
  file.create_dataset({
    name: "chunks",
    data,
    shape: [count],
    chunks: [1024],
    compression: 1,
  });
  file.close();
  const bytes = FS.readFile("/chunks.h5") as Uint8Array;
  FS.unlink("/chunks.h5");
  const watched = new WatchedFile("it", bytes);
  const hdf5 = await openHdf5(watched);
  try {
    const dataset = await hdf5.settled(() => hdf5.root.get("chunks"));
    const read = await (dataset as Hdf5Dataset).load();
    assert(read.data.every((value: number, i: number) => value === data[i]));
    // Doubling, from 64 KiB to what there is, and some for what describes it.
    const most = 2 * Math.ceil(Math.log2(bytes.length / BLOCK_BYTES)) + 8;
    assert(watched.reads.length <= most, `${watched.reads.length} turns`);
  } finally {
    hdf5.close();
  }
});

Deno.test("a damaged global heap is refused wherever the file is", async () => {
  const bytes = fixtureBytes("tfk_rank3.h5");
  const at = new TextDecoder("latin1").decode(bytes).indexOf("GCOL");
  // The size of the first object; see heap.ts.
  bytes[at + 24]! += 48;
  const message = `the global heap at byte ${at} is damaged`;
  await assertRejects(() => loadKeras(bytes), FormatError, message);
  await assertRejects(() => loadKeras(new Blob([bytes])), FormatError, message);
});

Deno.test("no file stays open in h5wasm, whatever was waited for", async () => {
  const { FS } = await h5wasm.ready;
  const open = (): number =>
    (FS as unknown as { streams: unknown[] }).streams.filter(Boolean).length;
  const before = open();
  const blob = new Blob([fixtureBytes("tfk_many_layers.h5")]);
  await loadKeras(blob);
  await assertRejects(() => loadKeras(blob.slice(0, 9000)), FormatError);
  assertEquals(open(), before);
});

Deno.test("copies of the package that share h5wasm have files of their own", async () => {
  const copy = "./h5wasm.ts?copy";
  const other = await import(copy) as typeof import("./h5wasm.ts");
  const { module } = await loadH5wasm();
  const names = [mount, other.mount, mount, other.mount].map((put) =>
    put(module, 1, () => undefined)
  );
  names.forEach((name) => module.FS.unlink(name));
  assertEquals(new Set(names).size, 4);
});
