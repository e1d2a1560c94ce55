import { assertEquals } from "@std/assert";
import { crc32 } from "./crc32.ts";

Deno.test("crc32 gives the check value of its catalogue", () => {
  // "CRC-32/ISO-HDLC" in the catalogue of parametrised CRC algorithms.
  const digits = new TextEncoder().encode("123456789");
  assertEquals(crc32(digits), 0xcbf43926);
  assertEquals(crc32(digits.subarray(0, 4), digits.subarray(4)), 0xcbf43926);
  assertEquals(crc32(), 0);
});
