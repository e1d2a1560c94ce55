import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { crc32c, maskedCrc } from "./crc32c.ts";

Deno.test("the checksums are those of RFC 3720", () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
  assertEquals(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assertEquals(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assertEquals(crc32c(ascending), 0x46dd794e);
  assertEquals(crc32c(ascending.toReversed()), 0x113fdb5c);
  assertEquals(crc32c(new Uint8Array(0)), 0);
});

Deno.test("a checksum goes on from the one before", () => {
  fc.assert(fc.property(fc.uint8Array(), fc.uint8Array(), (a, b) => {
    assertEquals(crc32c(b, crc32c(a)), crc32c(Uint8Array.of(...a, ...b)));
  }));
});

Deno.test("a masked checksum is another number of 32 bits", () => {
  assertEquals(maskedCrc(0), 0xa282ead8);
  assertEquals(maskedCrc(0x8000), 0xa282ead9);
  fc.assert(fc.property(fc.nat(0xffffffff), (crc) => {
    const masked = maskedCrc(crc);
    assertEquals(masked, masked >>> 0);
    assertEquals(masked === crc, false);
  }));
});
