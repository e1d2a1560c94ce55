/**
 * Bytes: in pieces, and in the order that machines have them.
 *
 * @module
 */

/**
 * Whether this machine stores the least significant byte first; all known
 * runtimes do.
 */
export const HOST_IS_LITTLE_ENDIAN: boolean =
  /* @__PURE__ */ (() => new Uint8Array(Uint16Array.of(1).buffer)[0] === 1)();

/** How many bytes pieces have together. */
export function totalLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

/**
 * Copies pieces, one behind the other, into an array of their total length,
 * which is the only one that is made.
 *
 * @param parts The pieces in order.
 * @returns A new array, also where there is one piece only.
 */
export function joinBytes(
  parts: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(totalLength(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
