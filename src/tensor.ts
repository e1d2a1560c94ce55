/**
 * The dense tensor that everything here takes and returns, and the element
 * types it can have.
 *
 * @module
 */

import { OptionError, ShapeError } from "./errors.ts";
import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from "./half_float.ts";

/** The element types that a {@linkcode Tensor} can have. */
export type ElementType = "float32" | "float64" | "float16" | "bfloat16";

/**
 * The array behind a {@linkcode Tensor}: 16-bit types are bit patterns in a
 * `Uint16Array`, float16 also a `Float16Array` where the engine has it.
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint16Array
  | Float16Array;

/**
 * A dense tensor in row-major order.
 *
 * onnxruntime's `Tensor` of a float type satisfies this interface, and what
 * comes out of a layer can be given to onnxruntime's constructor.
 */
export interface Tensor {
  /** The element type. */
  readonly type: ElementType;
  /** The extents, outermost first; empty for a scalar. */
  readonly dims: readonly number[];
  /** The elements in row-major order; as many as the product of `dims`. */
  readonly data: TensorData;
}

/** Element types, each with what is needed to hold and convert one element. */
interface TypeInfo {
  readonly bytes: number;
  /** An array for `length` elements, zeroed. */
  create(length: number): TensorData;
  /** Whether an array can hold this type as it is. */
  holds(data: unknown): data is TensorData;
}

// Float16Array is newer than Node 20 and edge-runtime, hence the look-up.
const NativeFloat16Array: typeof Float16Array | undefined =
  (globalThis as { Float16Array?: typeof Float16Array }).Float16Array;

function isFloat16Array(data: unknown): data is Float16Array {
  return NativeFloat16Array !== undefined && data instanceof NativeFloat16Array;
}

const TYPES: Readonly<Record<ElementType, TypeInfo>> = {
  float32: {
    bytes: 4,
    create: (length) => new Float32Array(length),
    holds: (data): data is Float32Array => data instanceof Float32Array,
  },
  float64: {
    bytes: 8,
    create: (length) => new Float64Array(length),
    holds: (data): data is Float64Array => data instanceof Float64Array,
  },
  float16: {
    bytes: 2,
    create: (length) => new Uint16Array(length),
    holds: (data): data is Uint16Array | Float16Array =>
      data instanceof Uint16Array || isFloat16Array(data),
  },
  bfloat16: {
    bytes: 2,
    create: (length) => new Uint16Array(length),
    holds: (data): data is Uint16Array => data instanceof Uint16Array,
  },
};

/** Whether a value names an element type. */
export function isElementType(value: unknown): value is ElementType {
  // Every call is here several times: sooner than a look-up.
  return value === "float32" || value === "float64" || value === "float16" ||
    value === "bfloat16";
}

/** The bytes that one element of a type takes. */
export function bytesPerElement(type: ElementType): number {
  return TYPES[type].bytes;
}

/** A zeroed array for `length` elements; 16-bit types get a `Uint16Array`. */
export function createData(type: ElementType, length: number): TensorData {
  return TYPES[type].create(length);
}

/** Whether an array is of the class that holds elements of a type. */
export function holdsType(
  type: ElementType,
  data: unknown,
): data is TensorData {
  return TYPES[type].holds(data);
}

/**
 * The number of elements of a shape.
 *
 * @throws {ShapeError} If an extent is not a non-negative integer, or the
 * product is beyond 2^53 - 1.
 */
export function elementCount(dims: readonly number[]): number {
  if (!Array.isArray(dims)) {
    throw new ShapeError(
      `Cannot use shape ${String(dims)}: expected a list of extents`,
    );
  }
  let count = 1;
  let empty = false;
  for (const extent of dims) {
    if (!Number.isSafeInteger(extent) || extent < 0) {
      throw new ShapeError(
        `Cannot use shape [${
          dims.join(", ")
        }]: expected non-negative integers, got ${extent}`,
      );
    }
    if (extent === 0) empty = true;
    else count *= extent;
  }
  if (!Number.isSafeInteger(count)) {
    throw new ShapeError(
      `Cannot use shape [${dims.join(", ")}]: it has 2^53 elements or more`,
    );
  }
  return empty ? 0 : count;
}

/** The bit patterns of a float16 or bfloat16 array, without a copy. */
export function halfBits(data: TensorData): Uint16Array {
  return data instanceof Uint16Array
    ? data
    : new Uint16Array(data.buffer, data.byteOffset, data.length);
}

function decoder(
  type: ElementType,
  data: TensorData,
): (index: number) => number {
  if (type === "float32" || type === "float64") return (i) => data[i]!;
  const bits = halfBits(data);
  return type === "float16"
    ? (i) => float16ToNumber(bits[i]!)
    : (i) => bfloat16ToNumber(bits[i]!);
}

/**
 * Copies numbers into an array of an element type, each rounded once to
 * nearest, ties to even.
 */
export function encodeInto(
  type: ElementType,
  target: TensorData,
  values: ArrayLike<number>,
): void {
  if (type === "float32" || type === "float64") {
    (target as Float32Array | Float64Array).set(values);
    return;
  }
  const bits = halfBits(target);
  const encode = type === "float16" ? numberToFloat16 : numberToBfloat16;
  for (let i = 0; i < values.length; i++) bits[i] = encode(values[i]!);
}

/**
 * The elements of a tensor as float32 or float64 numbers, in a new array.
 *
 * Widening is exact; a float64 tensor read as float32 is rounded to nearest.
 */
export function toFloats<T extends Float32Array | Float64Array>(
  source: Tensor,
  target: T,
): T {
  if (source.type === "float32" || source.type === "float64") {
    target.set(source.data);
    return target;
  }
  const at = decoder(source.type, source.data);
  for (let i = 0; i < target.length; i++) target[i] = at(i);
  return target;
}

/** The elements of a tensor in float64, in a new array; exact. */
export function widen(source: Tensor): Float64Array {
  return toFloats(source, new Float64Array(source.data.length));
}

/** A new tensor of the shape and type of another, each value rounded once. */
export function tensorLike(
  { type, dims }: Tensor,
  values: ArrayLike<number>,
): Tensor {
  const data = createData(type, values.length);
  encodeInto(type, data, values);
  return { type, dims: [...dims], data };
}

/** Whether two shapes are the same. */
export function sameDims(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  // Every call is here several times, and a closure is an object.
  for (let d = 0; d < a.length; d++) if (a[d] !== b[d]) return false;
  return true;
}

/** The bytes of an array, not copied: little-endian on every engine that can run our kernels. */
export function byteView(
  { buffer, byteOffset, byteLength }: ArrayBufferView,
): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/**
 * A tensor of another element type, rounded once to nearest, ties to even;
 * the tensor itself where the type is the same already.
 *
 * @param source The tensor to convert.
 * @param type The element type of the result.
 * @returns The converted tensor, which never shares memory with `source`
 * unless it is `source`.
 */
export function castTensor(source: Tensor, type: ElementType): Tensor {
  if (source.type === type) return source;
  const data = createData(type, source.data.length);
  const values = source.type === "float32" || source.type === "float64"
    ? source.data
    : toFloats(source, new Float32Array(source.data.length));
  encodeInto(type, data, values);
  return { type, dims: source.dims, data };
}

function typeOfArray(data: ArrayLike<number>): ElementType | undefined {
  if (data instanceof Float64Array) return "float64";
  if (isFloat16Array(data)) return "float16";
  // Bits or numbers? Only the caller knows.
  if (data instanceof Uint16Array) return undefined;
  return "float32";
}

/**
 * Makes a tensor from numbers or from a typed array.
 *
 * A typed array that can hold the element type is used as it is, without a
 * copy: `Float32Array`, `Float64Array`, `Float16Array`, and `Uint16Array` as
 * the bit patterns of float16 or bfloat16. Anything else is read as numbers
 * and rounded to the element type.
 *
 * @param data The elements in row-major order.
 * @param dims The extents, outermost first.
 * @param type The element type. By default that of the typed array, and
 * float32 for plain arrays; a `Uint16Array` needs it.
 * @returns The tensor.
 *
 * @throws {ShapeError} If the product of `dims` is not the number of elements.
 * @throws {OptionError} If the type is unknown, or a `Uint16Array` comes
 * without one.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { tensor } from "@evenkeel/evenkeel";
 *
 * const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
 * assertEquals(x.type, "float32");
 * assertEquals(tensor([1, -2], [2], "bfloat16").data, new Uint16Array([0x3f80, 0xc000]));
 * ```
 */
export function tensor(
  data: ArrayLike<number>,
  dims: readonly number[],
  type: ElementType | undefined = typeOfArray(data),
): Tensor {
  if (type === undefined) {
    throw new OptionError(
      `Cannot make a tensor from a Uint16Array without a type: expected "float16" or "bfloat16"`,
    );
  }
  if (!isElementType(type)) {
    throw new OptionError(
      `Cannot make a tensor of type "${type}": expected ${
        Object.keys(TYPES).map((name) => `"${name}"`).join(", ")
      }`,
    );
  }
  const count = elementCount(dims);
  if (typeof data?.length !== "number") {
    throw new OptionError(
      `Cannot make a tensor from ${
        String(data)
      }: expected numbers or a typed array`,
    );
  }
  if (count !== data.length) {
    throw new ShapeError(
      `Cannot make a tensor of shape [${
        dims.join(", ")
      }]: expected ${count} values, got ${data.length}`,
    );
  }
  if (holdsType(type, data)) return { type, dims: [...dims], data };
  if (data instanceof Uint16Array) {
    throw new OptionError(
      `Cannot make a ${type} tensor from a Uint16Array, which holds float16 or bfloat16 bits: pass numbers or the matching typed array`,
    );
  }
  const encoded = createData(type, count);
  encodeInto(type, encoded, data);
  return { type, dims: [...dims], data: encoded };
}
