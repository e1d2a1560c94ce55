import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { FormatError } from "../../errors.ts";
import { BytesFile, type SourceFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import { arraysBytes } from "../testing/arrays.ts";
import { readSafetensors } from "./safetensors.ts";

/** A file of a header and zeros. */
function file(
  header: unknown,
  dataBytes = 8,
  length?: bigint,
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(
    typeof header === "string" ? header : JSON.stringify(header),
  );
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer)
    .setBigUint64(0, length ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function entry(start: number, end: number, dtype = "F32", shape = [1]) {
  return { dtype, shape, data_offsets: [start, end] };
}

function read(bytes: Uint8Array) {
  return readSafetensors(new BytesFile("x.safetensors", bytes));
}

Deno.test("what the reference refuses is refused", async () => {
  for (
    const [bytes, message] of [
      [new Uint8Array(8), "expected the length of a JSON header"],
      [file({}, 0, 3n), "expected the length"],
      [file({}, 0, 2n ** 63n), "expected the length"],
      [file("[]", 0), "expected the length of a JSON header"],
      [file(`{"a":`, 0), "expected JSON"],
      [file(`{"a\xff": 1}`.repeat(2), 0), "expected JSON"],
      [file({ a: 1 }), "expected dtype, shape and two data_offsets"],
      [file({ a: { ...entry(0, 4), shape: [-1] } }), "expected dtype, shape"],
      [file({ a: { ...entry(0, 4), shape: [1.5] } }), "expected dtype, shape"],
      [file({ a: { ...entry(0, 4), data_offsets: [0] } }), "expected dtype"],
      [
        file({ a: entry(0, 4), b: entry(0, 4) }),
        "b of x.safetensors: expected its bytes to begin at 4, got 0 to 4; it overlaps another",
      ],
      [
        file({ a: entry(0, 8, "F64"), b: entry(4, 8) }),
        "it overlaps another",
      ],
      [
        file({ a: entry(0, 4), b: entry(5, 9) }, 9),
        "expected its bytes to begin at 4, got 5 to 9; there is a hole",
      ],
      [file({ a: entry(4, 8) }), "there is a hole"],
      [
        file({ a: entry(0, 4) }),
        "expected 4 bytes of tensors behind the header, got 8",
      ],
      [
        file({ a: entry(0, 4), b: entry(4, 12, "F64") }),
        "expected 12 bytes of tensors behind the header, got 8",
      ],
      [
        file({ a: entry(0, 8) }),
        "expected 4 bytes for F32 of shape [1], got 8",
      ],
      [
        file({ a: entry(0, 8, "F32", [2 ** 40, 2 ** 40]) }),
        "got 8",
      ],
      [
        file({ a: entry(0, 4, "F4", [8]), b: entry(4, 7, "F4", [7]) }, 7),
        "3.5",
      ],
      [
        file(
          `{"a":${JSON.stringify(entry(0, 8, "F64"))},"a":${
            JSON.stringify(entry(0, 8, "F64"))
          }}`,
        ),
        'it has the key "a" twice',
      ],
      [
        file(`{"__proto__":${JSON.stringify(entry(0, 8, "F64"))}}`),
        'it has a key "__proto__"',
      ],
      [
        file({ __metadata__: { a: 1 }, a: entry(0, 8, "F64") }),
        "expected __metadata__ to hold text only",
      ],
      [
        file({ __metadata__: "text", a: entry(0, 8, "F64") }),
        "expected __metadata__ to hold text only",
      ],
    ] as const
  ) {
    await assertRejects(() => read(bytes), FormatError, message);
  }
});

Deno.test("the same key written in two ways is twice the same", async () => {
  const text = JSON.stringify(entry(0, 8, "F64"));
  await assertRejects(
    () => read(file(`{"a" : ${text}, "\\u0061": ${text}}`)),
    FormatError,
    "twice",
  );
});

Deno.test("types that nobody knows are let be, unless they are needed", async () => {
  const { variables } = await read(file({
    a: entry(0, 3, "Q3_K", [5]),
    b: entry(3, 7),
    c: entry(7, 7, "F16", [0]),
  }, 7));
  assertEquals(variables.map(({ type }) => type), [
    "Q3_K",
    "float32",
    "float16",
  ]);
  assertEquals((await variables[1]!.read()).data, new Float32Array(1));
  assertEquals((await variables[2]!.read()).dims, [0]);
  await assertRejects(
    async () => await variables[0]!.read(),
    FormatError,
    "expected float elements, found Q3_K",
  );
});

Deno.test("only what is asked for is read", async () => {
  const whole = new BytesFile("x", arraysBytes("types.safetensors"));
  let bytes = 0;
  const counted: SourceFile = {
    name: "x",
    size: whole.size,
    read(offset, length) {
      bytes += length;
      return whole.read(offset, length);
    },
  };
  const { variables } = await readSafetensors(counted);
  const headerBytes = bytes;
  await variables.find(({ name }) => name === "f4/gamma")!.read();
  assertEquals(bytes, headerBytes + 12);
});

Deno.test("truncated and damaged files give a FormatError or the layers", async () => {
  const whole = arraysBytes("types.safetensors");
  for (let length = 0; length < whole.length; length += 7) {
    await assertRejects(() => loadKeras(whole.slice(0, length)), FormatError);
  }
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: whole.length - 1 }),
      fc.integer({ min: 1, max: 255 }),
      async (at, flip) => {
        const bytes = whole.slice();
        bytes[at]! ^= flip;
        try {
          await loadKeras(bytes);
        } catch (error) {
          assert(error instanceof FormatError, String(error));
        }
      },
    ),
    { numRuns: 500, seed: 4 },
  );
});
