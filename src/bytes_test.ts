import { assertEquals, assertNotStrictEquals } from "@std/assert";
import { HOST_IS_LITTLE_ENDIAN, joinBytes, totalLength } from "./bytes.ts";

Deno.test("joinBytes copies pieces in order, views and empty ones too", () => {
  const file = Uint8Array.of(1, 2, 3, 4, 5, 6);
  const parts = [
    file.subarray(4),
    new Uint8Array(),
    Uint8Array.of(9),
    file.subarray(1, 3),
  ];
  assertEquals(totalLength(parts), 5);
  assertEquals(joinBytes(parts), Uint8Array.of(5, 6, 9, 2, 3));
  assertEquals(joinBytes([]), new Uint8Array());
});

Deno.test("joinBytes gives an array of its own", () => {
  const part = Uint8Array.of(1, 2);
  const bytes = joinBytes([part]);
  assertNotStrictEquals(bytes, part);
  part[0] = 7;
  assertEquals(bytes, Uint8Array.of(1, 2));
  assertEquals(bytes.buffer.byteLength, 2);
});

Deno.test("the order of bytes is that of the machine", () => {
  const view = new DataView(Float32Array.of(1.5).buffer);
  assertEquals(view.getFloat32(0, HOST_IS_LITTLE_ENDIAN), 1.5);
});
