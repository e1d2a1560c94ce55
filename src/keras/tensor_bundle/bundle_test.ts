import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { BytesFile } from "../files/source_file.ts";
import {
  bundle,
  bundleEntry,
  floats,
  joined,
  message,
  stringTensor,
  table,
  type TensorOptions,
  varint,
  WatchedFile,
} from "../testing/bundle_builder.ts";
import { TensorBundle } from "./bundle.ts";
import { crc32c, maskedCrc } from "./crc32c.ts";
import { sliceKey } from "./ordered_code.ts";

async function opened(
  files: ReadonlyMap<string, Uint8Array>,
  index = "ckpt.index",
): Promise<TensorBundle> {
  return await TensorBundle.open(
    new BytesFile(index, files.get(index) ?? files.get("ckpt.index")!),
    (name) => {
      const bytes = files.get(name);
      return Promise.resolve(bytes && new BytesFile(name, bytes));
    },
  );
}

async function open(
  tensors: Readonly<Record<string, TensorOptions>>,
  header?: Uint8Array,
): Promise<TensorBundle> {
  return await opened(bundle(tensors, header));
}

async function refused(
  tensors: Readonly<Record<string, TensorOptions>>,
  text: string,
): Promise<void> {
  const error = await assertRejects(async () => {
    const read = await open(tensors);
    await read.get("x")!.read();
  }, FormatError);
  assert(error.message.includes(text), error.message);
}

function asFloats(bytes: Uint8Array<ArrayBuffer>): number[] {
  return [...new Float32Array(bytes.buffer)];
}

Deno.test("names are those of tensors, in any script", async () => {
  const key = String.fromCharCode(...new TextEncoder().encode("標準/gamma"));
  const read = await open({
    [key]: floats(1),
    "a/b": floats(2),
    [sliceKey("c", [{ start: 0, length: 1 }])]: floats(3),
  });
  assertEquals([...read.names()], ["a/b", "標準/gamma"]);
  assertEquals(asFloats(await read.get("標準/gamma")!.read()), [1]);
  assertEquals(read.get("c"), undefined);
  assertEquals(read.get(""), undefined);
});

Deno.test("only what is asked for is read", async () => {
  const files = bundle({ a: floats(1, 2), b: floats(3), c: floats(4, 5, 6) });
  const data = new WatchedFile(
    "ckpt.data-00000-of-00001",
    files.get("ckpt.data-00000-of-00001")!,
  );
  const read = await TensorBundle.open(
    new BytesFile("ckpt.index", files.get("ckpt.index")!),
    (name) => Promise.resolve(name === data.name ? data : undefined),
  );
  assertEquals(read.get("b")!.dims, [1]);
  assertEquals(data.reads, []);
  assertEquals(asFloats(await read.get("b")!.read()), [3]);
  assertEquals(data.reads, [[8, 4]]);
});

Deno.test("the data files are found by the index's name", async () => {
  const files = bundle({ x: floats(7) });
  for (
    const name of [
      "folder/ckpt.index",
      "C:\\folder\\ckpt.index",
      "https://example.com/a/ckpt.index?token=1/2",
      "file:///a%20b/ckpt.index",
    ]
  ) {
    const read = await opened(files, name);
    assertEquals(asFloats(await read.get("x")!.read()), [7]);
  }
  for (const name of ["the bytes", ".index", "https://example.com/x?a.index"]) {
    const read = await opened(files, name);
    const error = await assertRejects(() => read.get("x")!.read(), FormatError);
    assert(error.message.includes("expected a name that ends with .index"));
  }
});

Deno.test("a data file that is not there is named", async () => {
  const files = bundle({ x: floats(7) }, message([1, 3]));
  const read = await opened(files);
  await assertRejects(
    () => read.get("x")!.read(),
    FormatError,
    "expected its data in ckpt.data-00000-of-00003 beside it, there is no such file",
  );
});

Deno.test("most significant bytes first are turned around", async () => {
  const data = Uint8Array.of(0x3f, 0x80, 0, 0, 0x40, 0, 0, 0);
  const read = await open(
    { x: { dims: [2], data } },
    message([1, 1], [2, 1]),
  );
  assertEquals(asFloats(await read.get("x")!.read()), [1, 2]);
});

Deno.test("element types have numpy's names", async () => {
  const types = new Map([
    [1, "float32"],
    [2, "float64"],
    [3, "int32"],
    [9, "int64"],
    [10, "bool"],
    [14, "bfloat16"],
    [19, "float16"],
    [99, "type 99"],
  ]);
  for (const [type, name] of types) {
    assertEquals((await open({ x: { type } })).get("x")!.type, name);
  }
});

Deno.test("headers that cannot be read are refused", async () => {
  const opening = (header: Uint8Array) => () => open({}, header);
  await assertRejects(opening(message([1, 0])), FormatError, "0 shards");
  await assertRejects(
    opening(message([1, 1], [3, message([2, 2])])),
    UnsupportedError,
    "asks for version 2",
  );
  // A V1 checkpoint has the meta data of its slices here.
  await assertRejects(
    opening(message([1, message([1, "x"])])),
    UnsupportedError,
    "before TensorFlow 0.12 (V1)",
  );
  await assertRejects(
    () => opened(new Map([["ckpt.index", table([["a", new Uint8Array()]])]])),
    FormatError,
    "it has no header",
  );
});

Deno.test("entries that do not fit the data are refused", async () => {
  const data = new Uint8Array(8);
  await refused({ x: { dims: [2], data, crc: 1 } }, "checksum of its data");
  await refused(
    { x: { dims: [3], data } },
    "[3] takes 12 bytes, the index says 8",
  );
  await refused(
    { x: { dims: [2], data, offset: 4 } },
    "at byte 4 of ckpt.data-00000-of-00001, which has 8",
  );
  await refused(
    { x: { dims: [2], data, shard: 1 } },
    "Cannot read shard 1 of ckpt.index: it has 1",
  );
  await refused(
    { x: { dims: [2 ** 40], size: 2 ** 42 } },
    "expected 4398046511104 bytes at byte 0 of ckpt.data-00000-of-00001, which has 0",
  );
  await refused(
    { x: { dims: [2 ** 30, 2 ** 30] } },
    "Cannot read the entry of x",
  );
  await refused({ x: { type: 7, data } }, "expected numbers, found string");
});

Deno.test("damaged data is refused, whichever bit it is", async () => {
  const files = bundle({ x: floats(1, 2, 3) });
  const name = "ckpt.data-00000-of-00001";
  for (let bit = 0; bit < 12 * 8; bit++) {
    const data = files.get(name)!.slice();
    data[bit >> 3]! ^= 1 << (bit & 7);
    const read = await opened(new Map([...files, [name, data]]));
    await assertRejects(
      () => read.get("x")!.read(),
      FormatError,
      "the checksum of its data is wrong",
    );
  }
  const read = await opened(new Map([...files, [name, new Uint8Array(11)]]));
  await assertRejects(() => read.get("x")!.read(), FormatError, "which has 11");
});

Deno.test("a string is read, and checked in all its parts", async () => {
  const text = new TextEncoder().encode("x".repeat(300));
  const good = stringTensor(text);
  assertEquals(await (await open({ x: good })).string("x"), text);
  assertEquals(await (await open({ x: good })).string("y"), undefined);
  const data = good.data!;
  for (let at = 0; at < data.length; at++) {
    const changed = data.slice();
    changed[at]! ^= 1;
    const read = await open({ x: { ...good, data: changed } });
    await assertRejects(() => read.string("x"), FormatError);
  }
  for (let length = 0; length < data.length; length++) {
    const read = await open({ x: { ...good, data: data.slice(0, length) } });
    await assertRejects(() => read.string("x"), FormatError);
  }
  for (const wrong of [floats(1), { ...good, dims: [2] }]) {
    const read = await open({ x: wrong });
    await assertRejects(
      () => read.string("x"),
      FormatError,
      "expected one string",
    );
  }
});

Deno.test("a string that claims to be huge is refused", async () => {
  const length = 2 ** 40;
  const plain = new Uint8Array(new BigUint64Array([BigInt(length)]).buffer);
  const stored = new Uint8Array(
    new Uint32Array([maskedCrc(crc32c(plain))]).buffer,
  );
  const read = await open({
    x: { type: 7, data: joined(varint(length), stored, [1, 2]) },
  });
  await assertRejects(
    () => read.string("x"),
    FormatError,
    "expected 1099511627776 bytes",
  );
});

/** A matrix in slices, with what is wrong about them. */
function sliced(
  dims: readonly number[],
  parts: readonly {
    extents: readonly (readonly [number, number?])[];
    tensor: TensorOptions;
  }[],
): Record<string, TensorOptions> {
  return {
    x: { dims, slices: parts.map(({ extents }) => extents) },
    ...Object.fromEntries(parts.map(({ extents, tensor }) => [
      sliceKey("x", extents.map(([start, length]) => ({ start, length }))),
      tensor,
    ])),
  };
}

Deno.test("slices of any shape are put together", async () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 4 }), {
    minLength: 1,
    maxLength: 3,
  });
  await fc.assert(fc.asyncProperty(
    fc.array(cuts, { minLength: 1, maxLength: 3 }),
    async (lengths) => {
      const dims = lengths.map((all) => all.reduce((a, b) => a + b));
      let regions: [number, number][][] = [[]];
      for (const all of lengths) {
        let start = 0;
        const extents = all.map((length): [number, number] => {
          start += length;
          return [start - length, length];
        });
        regions = regions.flatMap((region) =>
          extents.map((extent) => [...region, extent])
        );
      }
      const parts = regions.map((extents) => {
        let values = [0];
        extents.forEach(([start, length], d) => {
          values = values.flatMap((value) =>
            Array.from({ length }, (_, i) => value * dims[d]! + start + i)
          );
        });
        const tensor = floats(...values);
        return {
          extents,
          tensor: { ...tensor, dims: extents.map(([, length]) => length) },
        };
      });
      const read = await open(sliced(dims, parts));
      const count = dims.reduce((a, b) => a * b);
      assertEquals(
        asFloats(await read.get("x")!.read()),
        Array.from({ length: count }, (_, i) => i),
      );
    },
  ));
});

Deno.test("a slice without a length is all of a dimension", async () => {
  const row = (start: number, ...values: number[]) => ({
    extents: [[start, 1], [0]] as [number, number?][],
    tensor: { ...floats(...values), dims: [1, 2] },
  });
  const read = await open(sliced([2, 2], [row(1, 3, 4), row(0, 1, 2)]));
  assertEquals(asFloats(await read.get("x")!.read()), [1, 2, 3, 4]);
});

Deno.test("slices that do not make up the variable are refused", async () => {
  const part = (
    start: number,
    length: number,
    tensor = floats(...Array(length).fill(1)),
  ) => ({
    extents: [[start, length]] as [number, number][],
    tensor,
  });
  await refused(sliced([4], [part(0, 2)]), "its 1 slices have 8 bytes of 16");
  await refused(
    sliced([4], [part(0, 2), part(1, 2)]),
    "its slices overlap, and leave something out",
  );
  await refused(
    sliced([4], [part(0, 2), part(3, 2)]),
    "its slice [3:5] of [4] is not within it",
  );
  await refused(
    sliced([4], [part(0, 2), part(2, 2, floats(1))]),
    "is stored as float32 [1]",
  );
  await refused(
    sliced([4], [part(0, 2), part(2, 2, { ...floats(1, 1), type: 3 })]),
    "is stored as int32 [2]",
  );
  await refused(
    { x: { dims: [4], slices: [[[0, 4]]] } },
    "its slice [0:4] of [4] is not there",
  );
  await refused(
    { x: { dims: [4], slices: [[[0, 4], [0, 1]]] } },
    "is not within it",
  );
});

Deno.test("slices that share their data cannot make a file larger", async () => {
  // A thousand slices of a thousand elements, all in one place.
  const tensor = { ...floats(...Array(1000).fill(1)) };
  const crc = maskedCrc(crc32c(tensor.data!));
  const extents = Array.from(
    { length: 1000 },
    (_, i) => [[i * 1000, 1000]] as [number, number][],
  );
  const tensors: Record<string, TensorOptions> = {
    x: { dims: [1_000_000], slices: extents },
    data: tensor,
  };
  for (const [[start, length]] of extents as [[number, number]][]) {
    tensors[sliceKey("x", [{ start, length }])] = {
      dims: [1000],
      size: 4000,
      crc,
    };
  }
  await refused(
    tensors,
    "its 1000 slices have 4000000 bytes of 4000000, and the data files 4000",
  );
});

Deno.test("any entry is read or refused", async () => {
  const entry = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.record({
      type: fc.nat(30),
      dims: fc.array(fc.nat(2 ** 31 - 1), { maxLength: 3 }),
      shard: fc.nat(2),
      offset: fc.nat(100),
      size: fc.nat(100),
      crc: fc.nat(),
    }).map(bundleEntry),
  );
  await fc.assert(fc.asyncProperty(entry, async (value) => {
    const files = new Map([
      ["ckpt.index", table([["", message([1, 1])], ["x", value]])],
      ["ckpt.data-00000-of-00001", new Uint8Array(50)],
    ]);
    try {
      await (await opened(files)).get("x")!.read();
    } catch (error) {
      assert(error instanceof FormatError, String(error));
    }
  }));
});
