// Of a file, what describes the layers is read, and the layers' own variables:
// not other layers' values, however large they are.

import { assert, assertEquals, assertThrows } from "@std/assert";
import { zipSync } from "fflate";
import { FormatError } from "../errors.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { PathFiles } from "./files/path_files.ts";
import { openContents } from "./formats/detect.ts";
import { BLOCK_BYTES } from "./hdf5/bytes.ts";
import { loadKeras } from "./load.ts";
import { withKeras } from "./load/opened_keras.ts";
import { readModel } from "./load/read_model.ts";
import type { KerasModel } from "./load/types.ts";
import { bundle, WatchedFile } from "./testing/bundle_builder.ts";
import {
  buildHdf5,
  type BuiltDataset,
  type BuiltGroup,
  vector,
} from "./testing/hdf5_builder.ts";
import {
  FOUR,
  layerGroup,
  serialized,
  wholeModel,
} from "./testing/legacy_model.ts";
import { encodeSafetensors } from "./write/safetensors.ts";

/** The elements of the other layers' weights, of which there are two: 2 MiB each. */
const LARGE = 2 ** 19;
const LARGE_BYTES = 4 * LARGE;
const LARGE_COUNT = 2;

/** The layers in their order; every second one is large. */
const LAYERS = ["bn_1", "dense_1", "bn_2", "dense_2", "bn_3"];
const isLarge = (name: string) => name.startsWith("dense");

const large: BuiltDataset = {
  dims: [LARGE],
  values: new Float32Array(LARGE).fill(0.5),
};

const config = LAYERS.map((name) =>
  serialized(isLarge(name) ? "Dense" : "BatchNormalization", name)
);

const groups: Readonly<Record<string, BuiltGroup>> = Object.fromEntries(
  LAYERS.map((name) => [
    name,
    layerGroup(isLarge(name) ? { "kernel:0": large } : FOUR, name),
  ]),
);

function objectTree(): Promise<Uint8Array<ArrayBuffer>> {
  return buildHdf5({
    members: Object.fromEntries(
      LAYERS.map((name) => [`layers/${name}/vars`, {
        attributes: { name },
        members: isLarge(name) ? { 0: large } : {
          0: vector(2, 1),
          1: vector(0, 1),
          2: vector(1, 3),
          3: vector(4, 1),
        },
      }]),
    ),
  });
}

async function archive(level: 0 | 6): Promise<Uint8Array> {
  const model = {
    class_name: "Functional",
    config: { name: "m", layers: config },
  };
  return zipSync({
    "config.json": new TextEncoder().encode(JSON.stringify(model)),
    "model.weights.h5": await objectTree(),
  }, { level });
}

/** The variables by names such as `bn_1/gamma`. */
function byName(): [string, BuiltDataset][] {
  return LAYERS.flatMap((name) =>
    isLarge(name)
      ? [[`${name}/kernel`, large] as [string, BuiltDataset]]
      : Object.entries(FOUR).map(([end, data]) =>
        [`${name}/${end.replace(":0", "")}`, data] as [string, BuiltDataset]
      )
  );
}

function tensorOf({ dims, values }: BuiltDataset): Tensor {
  return tensor(Float32Array.from(values), [...dims]);
}

type Files = ReadonlyMap<string, Uint8Array>;

function alone(bytes: Uint8Array): Files {
  return new Map([["model", bytes]]);
}

/** The formats that a large model comes in; the first file is the one to open. */
const FORMATS: Readonly<Record<string, () => Promise<Files>>> = {
  "h5": async () => alone(await wholeModel(config, groups)),
  "h5-weights": async () =>
    alone(
      await buildHdf5({
        attributes: { layer_names: LAYERS },
        members: groups,
      }),
    ),
  "weights.h5": async () => alone(await objectTree()),
  "keras": async () => alone(await archive(0)),
  "safetensors": () =>
    Promise.resolve(alone(encodeSafetensors(
      new Map(byName().map(([name, data]) => [name, tensorOf(data)])),
    ))),
  "tf-checkpoint-v1": () =>
    Promise.resolve(bundle(Object.fromEntries(
      byName().map(([name, { dims, values }]) => [name, {
        dims,
        data: new Uint8Array(Float32Array.from(values).buffer),
      }]),
    ))),
};

/** A file that is read without waiting, and remembers what was read. */
class WatchedAtHand extends WatchedFile {
  readonly #bytes: Uint8Array;

  constructor(name: string, bytes: Uint8Array) {
    super(name, bytes);
    this.#bytes = bytes;
  }

  readSync(offset: number, length: number): Uint8Array {
    this.reads.push([offset, length]);
    return this.#bytes.subarray(offset, offset + length);
  }
}

/** A model of watched files, and the bytes that were read. */
async function load(
  bytes: Files,
  File: typeof WatchedFile,
): Promise<{ model: KerasModel; read: number }> {
  const files = new Map([...bytes].map(([name, content]) => [
    name,
    new File(name, content),
  ]));
  const contents = await openContents({
    files: [files.values().next().value!],
    folderOf: () => ({ open: (name) => Promise.resolve(files.get(name)) }),
    close: () => Promise.resolve(),
  });
  try {
    const model = await readModel(contents, {});
    const reads = [...files.values()].flatMap((file) => file.reads);
    return { model, read: reads.reduce((sum, [, length]) => sum + length, 0) };
  } finally {
    contents.close();
  }
}

/**
 * What may be read of files of these formats. Without the large weights, there
 * are at most three runs of bytes, each of which touches at most two blocks
 * more than it fills. The format is told by the first 4096 bytes, and the
 * directory of an archive, at its end, is read up to twice.
 */
function allowance(files: Files): number {
  const all = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  const others = all - LARGE_COUNT * LARGE_BYTES;
  return others + 2 * (LARGE_COUNT + 1) * BLOCK_BYTES + 3 * 4096;
}

for (const [format, make] of Object.entries(FORMATS)) {
  Deno.test(`${format}: other layers' values are not read`, async () => {
    const files = await make();
    for (
      const [File, factor] of [
        [WatchedAtHand, 1],
        // Up to twice as much as what is there already is read ahead.
        [WatchedFile, 2],
      ] as const
    ) {
      const { model, read } = await load(files, File);
      assertEquals(model.format, format);
      assertEquals(model.batchNormalizations.size, 3);
      for (const layer of model.batchNormalizations.values()) {
        assertEquals(layer.getWeights().map(({ data }) => [...data]), [
          [2, 1],
          [0, 1],
          [1, 3],
          [4, 1],
        ]);
      }
      const most = factor * allowance(files);
      assert(read < most, `${format}: ${read} of at most ${most} bytes`);
    }
  });
}

Deno.test("of a URL, as little is fetched", async () => {
  for (const format of ["h5", "keras"]) {
    const files = await FORMATS[format]!();
    const [bytes] = files.values();
    let sent = 0;
    await using server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => {
        const range = /(\d+)-(\d+)/.exec(request.headers.get("range") ?? "");
        const first = Number(range![1]);
        const part = bytes!.slice(first, Number(range![2]) + 1);
        sent += part.length;
        const last = first + part.length - 1;
        return new Response(part, {
          status: 206,
          headers: {
            "content-range": `bytes ${first}-${last}/${bytes!.length}`,
          },
        });
      },
    );
    const model = await loadKeras(`http://127.0.0.1:${server.addr.port}/x`);
    assertEquals(model.batchNormalizations.size, 3);
    // In blocks of the whole file, which are not those of an archive's member.
    const most = 2 * allowance(files) + 2 * LARGE_COUNT * BLOCK_BYTES;
    assert(sent < most, `${format}: ${sent} of at most ${most} bytes`);
  }
});

Deno.test("other layers' values can be read, wherever the file is", async () => {
  for (const format of ["h5", "h5-weights", "weights.h5", "keras"]) {
    const [bytes] = (await FORMATS[format]!()).values();
    for (const source of [bytes!, new Blob([bytes as BlobPart])]) {
      await withKeras(source, {}, async ({ model, variablesOf }) => {
        const { path } = model.layers.find(({ key }) =>
          key.endsWith("dense_1")
        )!;
        const [kernel] = variablesOf(path);
        assertEquals(kernel!.dims, [LARGE]);
        assertEquals(await kernel!.read(), tensorOf(large), format);
      });
    }
  }
});

Deno.test("a compressed member is expanded, and reads the same", async () => {
  const stored = await loadKeras(await archive(0));
  assertEquals(await loadKeras(await archive(6)), stored);
});

Deno.test("a part of a file behind a path is read at once", async () => {
  const path = await Deno.makeTempFile();
  try {
    const [bytes] = (await FORMATS["keras"]!()).values();
    await Deno.writeFile(path, bytes!);
    const files = new PathFiles();
    const file = await files.open(path);
    assertEquals(file.readSync!(3, 5), bytes!.subarray(3, 8));
    assertThrows(
      () => file.readSync!(bytes!.length - 4, 5),
      FormatError,
      "it is truncated or damaged",
    );
    await Deno.truncate(path, 10);
    assertThrows(
      () => file.readSync!(8, 5),
      FormatError,
      "it became shorter while it was read",
    );
    await files.close();
    assertThrows(() => file.readSync!(0, 5), FormatError, "Cannot read");
  } finally {
    await Deno.remove(path);
  }
});
