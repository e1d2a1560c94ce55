// What onnxruntime 1.32 gave where the schema leaves something open.

import { assertEquals } from "@std/assert";
import { onnx } from "../onnx/testing/onnx_proto.ts";
import { createSession } from "./session.ts";
import type { SessionTensor } from "./types.ts";

const TYPES = { float32: 1, int32: 6, int64: 7, float16: 10 } as const;

/** A model of one operator without attributes. */
function modelOf(opType: string, x: SessionTensor): Uint8Array {
  const elemType = TYPES[x.type as keyof typeof TYPES];
  return onnx.ModelProto.encode({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 13 }],
    graph: {
      name: "g",
      node: [{ opType, name: "n", input: ["x"], output: ["y"] }],
      input: [{
        name: "x",
        type: {
          tensorType: {
            elemType,
            shape: { dim: x.dims.map((dimValue) => ({ dimValue })) },
          },
        },
      }],
      output: [{ name: "y", type: { tensorType: { elemType } } }],
    },
  }).finish();
}

const CASES: readonly (readonly [string, SessionTensor, readonly unknown[]])[] =
  [
    [
      "ReduceMean",
      { type: "int32", dims: [3], data: Int32Array.of(-3, 4, 4) },
      [
        1,
      ],
    ],
    ["ReduceMean", {
      type: "int64",
      dims: [3],
      data: BigInt64Array.of(-3n, -4n, 4n),
    }, [-1n]],
    ["ReduceMax", { type: "float32", dims: [0], data: new Float32Array() }, [
      -Infinity,
    ]],
    ["ReduceMin", { type: "float32", dims: [0], data: new Float32Array() }, [
      Infinity,
    ]],
    // Infinities become 65504.
    ["Clip", {
      type: "float16",
      dims: [3],
      data: Uint16Array.of(0x7c00, 0xfc00, 0x3c00),
    }, [0x7bff, 0xfbff, 0x3c00]],
  ];

for (const [opType, x, expected] of CASES) {
  Deno.test(`${opType} of ${x.type} [${x.dims}] as onnxruntime has it`, async () => {
    await using session = await createSession(modelOf(opType, x));
    const { y } = await session.run({ x });
    assertEquals([...y!.data as Iterable<unknown>], [...expected]);
  });
}
