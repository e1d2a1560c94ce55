/**
 * Bytes that come in pieces.
 *
 * @module
 */

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
