import { assert, assertEquals, assertRejects } from "@std/assert";
import { FormatError, OptionError } from "../../errors.ts";
import { loadKeras } from "../load.ts";
import { fixtureBytes, fixtureUrl } from "../testing/fixtures.ts";
import type { KerasSource } from "./source.ts";

const FILE = "tfk_rank3.h5";
const KEYS = ["bn_last", "bn_axis1", "bn_axes12"];

async function keysOf(source: KerasSource): Promise<string[]> {
  return [...(await loadKeras(source)).batchNormalizations.keys()];
}

Deno.test("loadKeras() reads paths, file URLs, bytes and maps", async () => {
  const url = fixtureUrl(FILE);
  const bytes = fixtureBytes(FILE);
  const padded = new Uint8Array(bytes.length + 3);
  padded.set(bytes, 3);
  for (
    const source of [
      url,
      url.href,
      decodeURIComponent(url.pathname),
      bytes,
      padded.subarray(3),
      new Map([["any name", bytes]]),
      new Blob([bytes]),
      new File([bytes], "model.h5"),
      new Map<string, Blob | Uint8Array>([["a.json", new Blob(["{}"])], [
        "b",
        new Blob([bytes]),
      ]]),
      new Map([["notes.txt", new Uint8Array([1])], ["model", bytes]]),
    ]
  ) {
    assertEquals(await keysOf(source), KEYS);
  }
});

Deno.test("loadKeras() leaves the bytes as they are", async () => {
  const bytes = fixtureBytes(FILE);
  await loadKeras(bytes);
  assertEquals(bytes, fixtureBytes(FILE));
});

Deno.test("loadKeras() fetches", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) =>
      request.url.endsWith(FILE)
        ? new Response(fixtureBytes(FILE))
        : new Response("no", { status: 404, statusText: "Not Found" }),
  );
  const base = `http://127.0.0.1:${server.addr.port}`;
  assertEquals(await keysOf(`${base}/${FILE}`), KEYS);
  assertEquals(await keysOf(new URL(`${base}/${FILE}`)), KEYS);
  await assertRejects(
    () => loadKeras(`${base}/x.h5`),
    FormatError,
    `Cannot fetch ${base}/x.h5: the server answered 404 Not Found`,
  );
});

Deno.test("loadKeras() says what it found instead of a Keras file", async () => {
  const folder = fixtureUrl(".");
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  for (
    const [source, message] of [
      [fixtureUrl("missing.h5"), "there is no such file"],
      [folder, "it is a directory, expected a file, or a directory with"],
      [decodeURIComponent(folder.pathname), "it is a directory, expected"],
      [
        new Uint8Array(0),
        "Cannot load a Keras model from the bytes: it is empty",
      ],
      [
        text("hello"),
        `, JSON, found bytes 68 65 6c 6c 6f ("hello")`,
      ],
      [text(`{"a": 1}`), "expected what get_weights() gives"],
      [text("<!DOCTYPE html>"), ", a web page)"],
      [
        text("version https://git-lfs.github.com/spec/v1"),
        ", a Git LFS pointer: fetch the file itself)",
      ],
      [
        new Uint8Array([0x93, ...text("NUMPY"), 1, 0]),
        "expected a .npy header, it is truncated",
      ],
      [
        new Map([["ckpt.data-00000-of-00001", text("hello")]]),
        "it is a shard of a checkpoint, expected its index, ckpt.index",
      ],
      [new Map<string, Uint8Array>(), "the map has no files"],
      [
        new Map([["a", fixtureBytes(FILE)], ["b", fixtureBytes(FILE)]]),
        "expected one file, got 2 (a, b)",
      ],
      [new Map([["a.bin", text("hello")]]), "from a.bin: expected HDF5"],
    ] as const
  ) {
    await assertRejects(() => loadKeras(source), FormatError, message);
  }
});

Deno.test("a file that cannot be read has the original error as its cause", async () => {
  const error = await assertRejects(
    () => loadKeras(fixtureUrl("missing.h5")),
    FormatError,
  );
  assert(error.cause instanceof Error);
});

Deno.test("loadKeras() refuses other sources", async () => {
  await assertRejects(
    () => loadKeras(42 as unknown as string),
    OptionError,
    "Cannot load a model from number",
  );
  for (
    const [source, message] of [
      [null, "from null: expected a path"],
      [new ArrayBuffer(8), "from ArrayBuffer: expected a path"],
      [new ArrayBuffer(8), "wrap the buffer: new Uint8Array(buffer)"],
      [new Map([["a", "text"]]), "from a Map of string to string: expected"],
      [new URLSearchParams(), "from URLSearchParams: expected a path"],
      [new Map([["a", new ArrayBuffer(8)]]), "wrap the buffer"],
      [new Map([[1, new Uint8Array(8)]]), "from a Map of number to Uint8Array"],
    ] as const
  ) {
    await assertRejects(
      () => loadKeras(source as unknown as string),
      OptionError,
      message,
    );
  }
});

Deno.test("loadKeras() refuses URLs that it cannot read", async () => {
  for (
    const [source, message] of [
      ["http://", "Cannot read http://: it is no valid URL"],
      ["HTTPS:", "it is no valid URL"],
      [
        "ftp://host/x.h5",
        "expected a URL with file:, http: or https:, got ftp:",
      ],
      [new URL("ftp://host/x.h5"), "file:, http: or https:, got ftp:"],
      ["C:/missing.h5", "there is no such file"],
    ] as const
  ) {
    await assertRejects(() => loadKeras(source), FormatError, message);
  }
});

Deno.test("loadKeras() reads HDF5 behind a user block", async () => {
  const bytes = fixtureBytes(FILE);
  for (const block of [512, 2048]) {
    const padded = new Uint8Array(block + bytes.length);
    padded.set(new TextEncoder().encode("somebody's own text"));
    padded.set(bytes, block);
    assertEquals(await keysOf(padded), KEYS);
  }
});
