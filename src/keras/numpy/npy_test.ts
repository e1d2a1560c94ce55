import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { isNpy, parseNpy, tensorOfStored } from "./npy.ts";

function read(bytes: Uint8Array, what = "it"): Tensor {
  return tensorOfStored(parseNpy(bytes, what), what);
}

/** A `.npy` file of version 1, or 2 with `wide`. */
function npy(
  descr: string,
  shape: string,
  data: ArrayBufferView,
  { fortran = false, wide = false } = {},
): Uint8Array {
  const header = `{'descr': '${descr}', 'fortran_order': ${
    fortran ? "True" : "False"
  }, 'shape': (${shape}), }\n`;
  const size = wide
    ? [2, 0, header.length & 255, header.length >> 8, 0, 0]
    : [1, 0, header.length & 255, header.length >> 8];
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array([
    0x93,
    ...new TextEncoder().encode("NUMPY"),
    ...size,
    ...new TextEncoder().encode(header),
    ...bytes,
  ]);
}

Deno.test("parseNpy() and tensorOfStored() read every float type", () => {
  const bits = new Uint16Array([0x3c00, 0xc000]);
  for (
    const [descr, data, type] of [
      ["<f4", new Float32Array([1.5, -2]), "float32"],
      ["<f8", new Float64Array([1.5, -2]), "float64"],
      ["<f2", bits, "float16"],
      ["<V2", bits, "bfloat16"],
      ["|V2", bits, "bfloat16"],
    ] as const
  ) {
    for (const wide of [false, true]) {
      assertEquals(read(npy(descr, "2,", data, { wide })), {
        type,
        dims: [2],
        data,
      });
    }
  }
});

Deno.test("parseNpy() and tensorOfStored() swap big-endian elements", () => {
  const bytes = new Uint8Array([0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]);
  assertEquals(
    read(npy(">f4", "2,", bytes)).data,
    new Float32Array([1, -2]),
  );
});

Deno.test("parseNpy() and tensorOfStored() turn Fortran order into row-major order", () => {
  // a[i, j, k] = 100 i + 10 j + k, of shape (2, 3, 2), first index fastest.
  const columns: number[] = [];
  const rows: number[] = [];
  for (let k = 0; k < 2; k++) {
    for (let j = 0; j < 3; j++) {
      for (let i = 0; i < 2; i++) columns.push(100 * i + 10 * j + k);
    }
  }
  for (let i = 0; i < 2; i++) {
    for (let j = 0; j < 3; j++) {
      for (let k = 0; k < 2; k++) rows.push(100 * i + 10 * j + k);
    }
  }
  const file = npy("<f4", "2, 3, 2", new Float32Array(columns), {
    fortran: true,
  });
  const { dims, data } = read(file);
  assertEquals(dims, [2, 3, 2]);
  assertEquals([...data], rows);
});

Deno.test("parseNpy() and tensorOfStored() read scalars and empty arrays", () => {
  assertEquals(read(npy("<f4", "", new Float32Array([7]))).dims, []);
  const empty = read(npy("<f4", "0, 3", new Float32Array(0)));
  assertEquals(empty.dims, [0, 3]);
  assertEquals(empty.data.length, 0);
});

Deno.test("parseNpy() and tensorOfStored() refuse what they cannot read", () => {
  const good = npy("<f4", "2,", new Float32Array(2));
  for (
    const [bytes, message] of [
      [new Uint8Array(0), "expected a .npy array"],
      [good.subarray(0, 5), "expected a .npy array"],
      [good.subarray(0, 9), "expected a .npy header, it is truncated"],
      [good.subarray(0, 40), "expected a .npy header"],
      [good.subarray(0, -1), "expected 8 bytes for <f4 of shape [2], got 7"],
      [
        npy("<i4", "2,", new Int32Array(2)),
        "expected float elements, found <i4",
      ],
      [npy("|O", "", new Uint8Array(3)), "expected float elements, found |O"],
      [npy("<c8", "1,", new Float32Array(2)), "found <c8"],
      [
        npy("<f4", "99999999, 99999999, 99999999", new Float32Array(2)),
        "it has the shape [99999999, 99999999, 99999999]",
      ],
    ] as const
  ) {
    assertThrows(() => read(bytes, "x.npy"), FormatError, message);
  }
});

Deno.test("isNpy() looks at the first bytes", () => {
  assertEquals(isNpy(npy("<f4", "", new Float32Array(1))), true);
  assertEquals(isNpy(new Uint8Array([0x93, 0x4e])), false);
});
