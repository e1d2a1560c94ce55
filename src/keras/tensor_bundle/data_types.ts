/**
 * TensorFlow's element types.
 *
 * @see https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/types.proto
 *
 * @module
 */

/** An element type. */
export interface DataType {
  /** Its name in numpy. */
  readonly name: string;
  /** The bytes per element; undefined for what has none, such as strings. */
  readonly bytes: number | undefined;
}

/** The number of strings. */
export const STRING = 7;

const TYPES: Readonly<Record<number, readonly [string, number?]>> = {
  1: ["float32", 4],
  2: ["float64", 8],
  3: ["int32", 4],
  4: ["uint8", 1],
  5: ["int16", 2],
  6: ["int8", 1],
  [STRING]: ["string"],
  8: ["complex64", 8],
  9: ["int64", 8],
  10: ["bool", 1],
  14: ["bfloat16", 2],
  17: ["uint16", 2],
  18: ["complex128", 16],
  19: ["float16", 2],
  20: ["resource"],
  21: ["variant"],
  22: ["uint32", 4],
  23: ["uint64", 8],
  24: ["float8_e5m2", 1],
  25: ["float8_e4m3fn", 1],
};

/** The element type with a number; one that is not known has a name made of it. */
export function dataTypeOf(code: number): DataType {
  const [name, bytes] = TYPES[code] ?? [`type ${code}`];
  return { name, bytes };
}
