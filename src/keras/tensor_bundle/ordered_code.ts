/**
 * The keys under which a checkpoint holds the slices of a partitioned
 * variable: a name and numbers, written so that their bytes sort as they do.
 *
 * @module
 */

/** A slice of a tensor along one dimension; without a length it is all of it. */
export interface SliceExtent {
  readonly start: number;
  readonly length: number | undefined;
}

/** Ends a string, in which 0 and 255 are escaped. */
const END_OF_STRING = "\x00\x01";

/** The number of bytes that follow, and the number, the highest byte first. */
function unsigned(value: number): string {
  let digits = "";
  for (let rest = value; rest > 0; rest = Math.floor(rest / 0x100)) {
    digits = String.fromCharCode(rest % 0x100) + digits;
  }
  return String.fromCharCode(digits.length) + digits;
}

/**
 * An integer in n bytes, the highest first, with n ones in front of its sign
 * bit turned around: 64 to 8191 take two bytes, `0xc040` is 64.
 */
function signed(value: number): string {
  let bytes = 1;
  // A sign and n - 1 more bits are what n bytes have no room for.
  while (2 ** (7 * bytes - 1) <= (value < 0 ? -1 - value : value)) bytes++;
  const bits = 8n * BigInt(bytes);
  const header = ((1n << BigInt(bytes)) - 1n) << (bits - BigInt(bytes));
  const code = BigInt.asUintN(Number(bits), BigInt(value)) ^ header;
  return Array.from(
    { length: bytes },
    (_, i) =>
      String.fromCharCode(
        Number((code >> (bits - 8n * BigInt(i + 1))) & 0xffn),
      ),
  ).join("");
}

/** Whether a key of a checkpoint's index is that of a slice. */
export function isSliceKey(key: string): boolean {
  return key.startsWith("\x00");
}

/**
 * The key of a slice.
 *
 * @param name The variable's key, its bytes as characters.
 * @param extents The slice, dimension by dimension.
 */
export function sliceKey(
  name: string,
  extents: readonly SliceExtent[],
): string {
  const escaped = name.replace(
    // deno-lint-ignore no-control-regex
    /[\x00\xff]/g,
    (byte) => byte === "\x00" ? "\x00\xff" : "\xff\x00",
  );
  return unsigned(0) + escaped + END_OF_STRING + unsigned(extents.length) +
    extents.map(({ start, length }) => signed(start) + signed(length ?? -1))
      .join("");
}
