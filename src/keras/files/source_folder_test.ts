// Files beside a source's own, wherever the source is, and how much of them
// is read.

import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { loadKeras } from "../load.ts";
import { arraysUrl } from "../testing/arrays.ts";
import { type KerasSource, type OpenSource, openSource } from "./source.ts";
import { readAll, relativeParts, stemOf } from "./source_file.ts";

const text = (value: string): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(value);

/** A model in several files, of which only the names matter here. */
const FILES: Readonly<Record<string, string>> = {
  "outside.bin": "outside",
  "saved/saved_model.pb": "saved",
  "saved/variables/variables.index": "index",
  "saved/variables/a b%2F#.bin": "odd",
  "tfjs/model.json": "{}",
  "ckpt/checkpoint":
    'model_checkpoint_path: "/elsewhere/second"\nall_model_checkpoint_paths: "first"\n',
  "ckpt/first.index": "first",
  "ckpt/second.index": "second",
  "ckpt/second.data-00000-of-00001": "data",
  "empty/notes.txt": "nothing",
};

/** A folder with the files, for the time of a test. */
async function withFolder(
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, content] of Object.entries(FILES)) {
      const path = `${folder}/${name}`;
      await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), {
        recursive: true,
      });
      await Deno.writeTextFile(path, content);
    }
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A server of the files, for the time of a test. */
async function withServer(
  test: (base: string, asked: string[]) => Promise<void>,
): Promise<void> {
  const asked: string[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { pathname, search } = new URL(request.url);
      asked.push(pathname + search);
      const name = decodeURIComponent(pathname.slice(1));
      return Object.hasOwn(FILES, name)
        ? new Response(FILES[name]!)
        : new Response("no", { status: 404 });
    },
  );
  await test(`http://127.0.0.1:${server.addr.port}`, asked);
}

async function using<T>(
  source: KerasSource,
  use: (source: OpenSource) => Promise<T>,
): Promise<T> {
  const open = await openSource(source);
  try {
    return await use(open);
  } finally {
    await open.close();
  }
}

/** The text of the source's only file. */
function mainText(source: KerasSource): Promise<string> {
  return using(source, async ({ files }) => {
    assertEquals(files.length, 1);
    return new TextDecoder().decode(await readAll(files[0]!));
  });
}

/** The text of a file beside the first one; undefined if there is none. */
function besideText(
  source: KerasSource,
  name: string,
): Promise<string | undefined> {
  return using(source, async (open) => {
    const file = await open.folderOf(open.files[0]!).open(name);
    return file && new TextDecoder().decode(await readAll(file));
  });
}

/** What is found in a place, whatever kind of place it is. */
async function checkPlace(at: (name: string) => KerasSource): Promise<void> {
  const saved = at("saved/saved_model.pb");
  assertEquals(await mainText(saved), "saved");
  for (
    const [name, content] of [
      ["variables/variables.index", "index"],
      ["./variables/./variables.index", "index"],
      ["variables/a b%2F#.bin", "odd"],
      ["saved_model.pb", "saved"],
      ["missing.bin", undefined],
    ] as const
  ) {
    assertEquals(await besideText(saved, name), content, name);
  }
  for (
    const name of [
      "../outside.bin",
      "variables/../../outside.bin",
      "/etc/hosts",
      "..",
      "",
      "a//b",
      "..\\outside.bin",
      "C:x",
      "http://127.0.0.1/x",
      "a\0b",
      "a".repeat(2000),
    ]
  ) {
    await assertRejects(
      () => besideText(saved, name),
      FormatError,
      "expected the name of a file in the same folder",
    );
  }
  assertEquals(await mainText(at("ckpt/first")), "first");
  assertEquals(
    await besideText(at("ckpt/second"), "second.data-00000-of-00001"),
    "data",
  );
  await assertRejects(() => mainText(at("ckpt/third")), FormatError);
}

Deno.test("files beside a path are opened, and folders by what is in them", async () => {
  await withFolder(async (folder) => {
    const url = new URL(`file://${folder}/`);
    await checkPlace((name) => `${folder}/${name}`);
    await checkPlace((name) => new URL(name, url));
    for (const end of ["", "/"]) {
      for (const base of [folder, url.href.slice(0, -1)]) {
        assertEquals(await mainText(`${base}/saved${end}`), "saved");
        assertEquals(
          await besideText(`${base}/saved${end}`, "variables/variables.index"),
          "index",
        );
        assertEquals(await mainText(`${base}/tfjs${end}`), "{}");
        // TensorFlow's note of the latest one; where it was written does not
        // matter.
        assertEquals(await mainText(`${base}/ckpt${end}`), "second");
        assertEquals(
          await mainText(`${base}/saved/variables/variables`),
          "index",
        );
        await assertRejects(
          () => mainText(`${base}/empty${end}`),
          FormatError,
          "it is a directory, expected a file, or a directory with saved_model.pb",
        );
      }
    }
  });
});

Deno.test("a path without a folder is one in this folder", async () => {
  const name = "deno.json";
  assertEquals(
    await besideText(name, "mod.ts"),
    await Deno.readTextFile("mod.ts"),
  );
});

Deno.test("a pipe is read at once", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/pipe`;
    const made = await new Deno.Command("mkfifo", { args: [path] }).output()
      .catch(() => undefined);
    // Windows has none.
    if (!made?.success) return;
    const [content] = await Promise.all([
      mainText(path),
      Deno.writeTextFile(path, "through a pipe"),
    ]);
    assertEquals(content, "through a pipe");
  });
});

Deno.test("a file that becomes shorter is refused", async () => {
  await withFolder(async (folder) => {
    await using(`${folder}/outside.bin`, async ({ files: [file] }) => {
      await Deno.truncate(`${folder}/outside.bin`, 3);
      await assertRejects(
        () => readAll(file!),
        FormatError,
        "it became shorter while it was read",
      );
    });
  });
});

Deno.test("files beside a URL are fetched", async () => {
  await withServer(async (base, asked) => {
    await checkPlace((name) =>
      `${base}/${name.split("/").map(encodeURIComponent).join("/")}`
    );
    assertEquals(await mainText(`${base}/saved/`), "saved");
    assertEquals(await mainText(`${base}/ckpt/`), "second");
    await assertRejects(
      () => mainText(`${base}/empty/`),
      FormatError,
      "expected a file, or a directory with",
    );
    assert(!asked.some((path) => path.includes("outside")), String(asked));
    asked.length = 0;
    // A query that grants access does so beside as well.
    assertEquals(
      await besideText(`${base}/saved/saved_model.pb?key=1`, "missing"),
      undefined,
    );
    assertEquals(asked, [
      "/saved/saved_model.pb?key=1",
      "/saved/missing?key=1",
    ]);
  });
});

Deno.test("files of a map are beside each other by their names", async () => {
  for (const kind of [text, (value: string) => new Blob([value])]) {
    const map = new Map<string, Uint8Array | Blob>(
      Object.entries(FILES).map(([name, content]) => [name, kind(content)]),
    );
    map.set("./top.bin", kind("top"));
    await using(map, async ({ files, folderOf }) => {
      const open = async (of: string, name: string) => {
        const file = files.find((each) => each.name === of)!;
        const beside = await folderOf(file).open(name);
        return beside && new TextDecoder().decode(await readAll(beside));
      };
      assertEquals(
        await open("saved/saved_model.pb", "variables/variables.index"),
        "index",
      );
      assertEquals(await open("outside.bin", "top.bin"), "top");
      assertEquals(await open("outside.bin", "missing"), undefined);
      await assertRejects(
        () => open("saved/saved_model.pb", "../outside.bin"),
        FormatError,
      );
    });
  }
});

Deno.test("bytes and a Blob have nothing beside them", async () => {
  for (const source of [text("x"), new Blob(["x"])]) {
    assertEquals(await besideText(source, "y"), undefined);
    await assertRejects(() => besideText(source, "../y"), FormatError);
  }
});

Deno.test("any part of a file is the same from every source", async () => {
  const content = Uint8Array.from({ length: 3000 }, (_, i) => i * 7);
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, content);
    for (
      const source of [path, content, new Blob([content])] as KerasSource[]
    ) {
      await using(source, async ({ files: [file] }) => {
        await fc.assert(
          fc.asyncProperty(
            fc.integer({ min: -5, max: 3010 }),
            fc.integer({ min: -5, max: 3010 }),
            async (offset, length) => {
              const isWithin = offset >= 0 && length >= 0 &&
                offset + length <= content.length;
              if (isWithin) {
                assertEquals(
                  await file!.read(offset, length),
                  content.subarray(offset, offset + length),
                );
              } else {
                await assertRejects(
                  () => file!.read(offset, length),
                  FormatError,
                  "it has 3000 bytes",
                );
              }
            },
          ),
          { numRuns: 60, seed: 1 },
        );
      });
    }
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("an aborted signal ends the reading with its reason", async () => {
  const reason = new Error("enough");
  const error = await assertRejects(() =>
    loadKeras(arraysUrl("rows.npy"), { signal: AbortSignal.abort(reason) })
  );
  assertEquals(error, reason);
});

/** A server of one file in ranges, for the time of a test. */
async function withRanges(
  bytes: Uint8Array<ArrayBuffer>,
  test: (url: string, ranges: string[]) => Promise<void>,
): Promise<void> {
  const ranges: string[] = [];
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const range = request.headers.get("range") ?? "";
      ranges.push(range);
      const [first, last] = range.slice("bytes=".length).split("-").map(Number);
      const part = bytes.slice(first, last! + 1);
      return new Response(part, {
        status: 206,
        headers: {
          "content-range": `bytes ${first}-${
            first! + part.length - 1
          }/${bytes.length}`,
        },
      });
    },
  );
  await test(`http://127.0.0.1:${server.addr.port}/model`, ranges);
}

/** A safetensors file with a BatchNormalization behind something large. */
function largeSafetensors(): Uint8Array<ArrayBuffer> {
  const large = 3 * 2 ** 20;
  const entries: Record<string, unknown> = {
    "a_kernel": { dtype: "I8", shape: [large], data_offsets: [0, large] },
  };
  ["beta", "gamma", "moving_mean", "moving_variance"].forEach((name, i) => {
    entries[`bn/${name}`] = {
      dtype: "F32",
      shape: [2],
      data_offsets: [large + 8 * i, large + 8 * i + 8],
    };
  });
  entries.z_kernel = {
    dtype: "I8",
    shape: [large],
    data_offsets: [large + 32, 2 * large + 32],
  };
  const header = text(JSON.stringify(entries));
  const bytes = new Uint8Array(8 + header.length + 2 * large + 32);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  const start = 8 + header.length + large;
  for (let i = 0; i < 8; i++) view.setFloat32(start + 4 * i, i + 1, true);
  return bytes;
}

Deno.test("of a large safetensors file, one block beside the header is fetched", async () => {
  const bytes = largeSafetensors();
  await withRanges(bytes, async (url, ranges) => {
    const { batchNormalizations } = await loadKeras(url);
    assertEquals(
      batchNormalizations.get("bn")!.getWeights().map(({ data }) => [...data]),
      [[3, 4], [1, 2], [5, 6], [7, 8]],
    );
    assertEquals(ranges, ["bytes=0-65535", "bytes=3145728-3211263"]);
  });
});

Deno.test("names of files without folder and ending", () => {
  for (
    const [name, stem] of [
      ["a/b/bn.npz", "bn"],
      ["bn", "bn"],
      ["a\\bn.tar.gz", "bn"],
      [".hidden.npy", ".hidden"],
      ["https://host/a/bn.npz?x=/y.z#q", "bn"],
      ["https://host/", "layer"],
      ["the bytes", "layer"],
      ["the blob", "layer"],
    ] as const
  ) {
    assertEquals(stemOf({ name }), stem);
  }
});

Deno.test("relativeParts() never gives a way out", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom("..", ".", "", "a", "\\", "c:", "b.c"), {
        minLength: 1,
        maxLength: 5,
      }),
      (parts) => {
        let given: string[];
        try {
          given = relativeParts(parts.join("/"));
        } catch (error) {
          assert(error instanceof FormatError);
          return;
        }
        assert(given.every((part) => ["a", "b.c"].includes(part)));
      },
    ),
    { numRuns: 300, seed: 6 },
  );
});
