/**
 * The checksum of zip archives and of saved states.
 *
 * @module
 */

/** The polynomial of IEEE 802.3, as in zip, gzip and PNG, bits reversed. */
const POLYNOMIAL = 0xedb88320;

const TABLE = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) {
    remainder = (remainder >>> 1) ^ (remainder & 1 ? POLYNOMIAL : 0);
  }
  return remainder;
});

/**
 * CRC-32: finds every single flipped bit and every burst of up to 32 bits,
 * with a table of 1 KB. It is no protection against intent, which a saved
 * state does not need; a hash would be asynchronous in Web Crypto.
 *
 * @param pieces The bytes, which may come in pieces.
 * @returns An integer from 0 to 2^32 - 1.
 */
export function crc32(...pieces: readonly Uint8Array[]): number {
  let crc = 0xffffffff;
  for (const piece of pieces) {
    for (let i = 0; i < piece.length; i++) {
      crc = TABLE[(crc ^ piece[i]!) & 0xff]! ^ (crc >>> 8);
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}
