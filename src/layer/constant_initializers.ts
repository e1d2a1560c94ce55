/**
 * The initializers without randomness: Zeros, Ones, Constant and Identity.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import type { Initializer } from "./initializers.ts";
import {
  type JsonObject,
  type JsonValue,
  numberArgument,
  serializeBuiltIn,
  type SerializedObject,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";

const MODULE = "keras.initializers";

/** All zeros. */
export class Zeros implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "Zeros";

  /** Zeros for a shape. */
  call(shape: readonly number[]): Float64Array {
    return new Float64Array(elementCount(shape));
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(MODULE, this.className, {}, version);
  }
}

/** All ones. */
export class Ones implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "Ones";

  /** Ones for a shape. */
  call(shape: readonly number[]): Float64Array {
    return new Float64Array(elementCount(shape)).fill(1);
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(MODULE, this.className, {}, version);
  }
}

/** The options of {@linkcode Constant}. */
export interface ConstantOptions {
  /**
   * One number for all elements, or as many as the shape has, nested or not,
   * or Keras 3's JSON of an array of them. 0 by default.
   */
  readonly value?: JsonValue;
}

function flatten(value: unknown, into: number[]): boolean {
  if (Array.isArray(value)) return value.every((item) => flatten(item, into));
  if (typeof value !== "number") return false;
  into.push(value);
  return true;
}

/** What Keras 3 wraps an array in: `__numpy__` or `__tensor__`. */
function unwrap(value: JsonValue): JsonValue {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  const { class_name, config } = value as JsonObject;
  return class_name === "__numpy__" || class_name === "__tensor__"
    ? (config as JsonObject | undefined)?.value ?? null
    : value;
}

/**
 * A value of the caller's for all elements, or one for each.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Constant } from "@evenkeel/evenkeel";
 *
 * assertEquals([...new Constant({ value: 0.5 }).call([2])], [0.5, 0.5]);
 * assertEquals([...new Constant({ value: [1, 2] }).call([2])], [1, 2]);
 * ```
 */
export class Constant implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "Constant";
  readonly #value: JsonValue;
  readonly #numbers: readonly number[];

  /**
   * Makes the initializer.
   *
   * @param options The value or values.
   *
   * @throws {OptionError} If the value is not made of numbers.
   */
  constructor(options: ConstantOptions = {}) {
    const { value = 0 } = options;
    const numbers: number[] = [];
    if (!flatten(unwrap(value), numbers)) {
      throw new OptionError(
        `Cannot make Constant: expected value to be a number or an array of numbers, got ${
          show(value)
        }`,
      );
    }
    this.#value = value;
    this.#numbers = numbers;
  }

  /**
   * The value, or the values in row-major order, for a shape.
   *
   * @throws {ShapeError} If there is neither one value nor one per element.
   */
  call(shape: readonly number[]): Float64Array {
    const values = new Float64Array(elementCount(shape));
    const numbers = this.#numbers;
    if (numbers.length === 1) return values.fill(numbers[0]!);
    if (numbers.length !== values.length) {
      throw new ShapeError(
        `Cannot fill shape [${
          shape.join(", ")
        }] with Constant: expected one value or ${values.length}, got ${numbers.length}`,
      );
    }
    values.set(numbers);
    return values;
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    const config = { value: this.#value };
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}

/** The options of {@linkcode Identity}. */
export interface IdentityOptions {
  /** The value on the diagonal; 1 by default. */
  readonly gain?: number;
}

/** An identity matrix, for weights of rank 2. */
export class Identity implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "Identity";
  readonly #gain: number;

  /**
   * Makes the initializer.
   *
   * @param options The value on the diagonal.
   *
   * @throws {OptionError} If `gain` is not a number.
   */
  constructor(options: IdentityOptions = {}) {
    this.#gain = numberArgument("Identity", "gain", options.gain, 1);
  }

  /**
   * The matrix for a shape of rows and columns.
   *
   * @throws {ShapeError} If the rank is not 2.
   */
  call(shape: readonly number[]): Float64Array {
    const [rows, columns] = shape;
    if (shape.length !== 2 || rows === undefined || columns === undefined) {
      throw new ShapeError(
        `Cannot fill shape [${
          shape.join(", ")
        }] with Identity: expected rank 2, got ${shape.length}`,
      );
    }
    const values = new Float64Array(elementCount(shape));
    for (let i = 0; i < Math.min(rows, columns); i++) {
      values[i * columns + i] = this.#gain;
    }
    return values;
  }

  /**
   * The JSON that Keras writes, with the gain, which Keras 3.15 leaves out and
   * so forgets.
   */
  toConfig(version: KerasVersion): SerializedObject {
    const config = { gain: this.#gain };
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}
