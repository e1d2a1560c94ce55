/**
 * The constraints on single values: NonNeg and RadialConstraint.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import type { Constraint } from "./constraints.ts";
import { serializeBuiltIn, type SerializedObject } from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";

const MODULE = "keras.constraints";

/** The options of {@linkcode NonNeg}. */
export interface NonNegOptions {
  /**
   * Keras 2 multiplies by 0 or 1, which makes negative values -0 and -Infinity
   * NaN; Keras 3 takes the larger of the value and 0. `"2.4"` by default.
   */
  readonly kerasVersion?: KerasVersion;
}

/** No negative values. */
export class NonNeg implements Constraint {
  /** The name of the Keras class. */
  readonly className: string = "NonNeg";
  readonly #multiplies: boolean;

  /**
   * Makes the constraint.
   *
   * @param options Whose rules apply.
   */
  constructor(options: NonNegOptions = {}) {
    this.#multiplies = options.kerasVersion !== "3";
  }

  /** Replaces negative weights by 0. */
  apply(weights: Float32Array | Float64Array): void {
    for (let i = 0; i < weights.length; i++) {
      const w = weights[i]!;
      if (this.#multiplies) weights[i] = w * (w >= 0 ? 1 : 0);
      else if (w < 0) weights[i] = 0;
    }
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(MODULE, this.className, {}, version);
  }
}

/**
 * For kernels of shape (size, size, inputs, outputs): one value for all places
 * of equal distance to the centre.
 *
 * The values are those that Keras takes, not those that its documentation
 * shows: with c = floor(size / 2), the centre is that of place (c-1, c-1), and
 * ring i is that of place (c+i, c+i), counted from 0 where the size is odd and
 * from 1 where it is even.
 */
export class RadialConstraint implements Constraint {
  /** The name of the Keras class. */
  readonly className: string = "RadialConstraint";

  /**
   * Replaces weights by those of their ring.
   *
   * @throws {ShapeError} If the shape is not that of square kernels of at
   * least 2 x 2.
   */
  apply(weights: Float32Array | Float64Array, shape: readonly number[]): void {
    const [size = 0, width, inputs = 0, outputs = 0] = shape;
    const count = elementCount(shape);
    const fits = shape.length === 4 && size === width && size > 1;
    if (!fits || weights.length !== count) {
      throw new ShapeError(
        `Cannot use RadialConstraint on shape [${
          shape.join(", ")
        }] with ${weights.length} values: expected rank 4, (size, size, inputs, outputs) with a size above 1`,
      );
    }
    const half = Math.floor(size / 2);
    const first = size % 2 === 0 ? 1 : 0;
    const source = weights.slice();
    for (let i = 0; i < count; i++) {
      const column = Math.floor(i / (inputs * outputs)) % size;
      const row = Math.floor(i / (inputs * outputs * size));
      // Steps from the centre, which is 1 x 1 or 2 x 2, to the ring.
      const distance = Math.max(
        Math.abs(2 * row - (size - 1)),
        Math.abs(2 * column - (size - 1)),
      ) >> 1;
      const place = distance === 0 ? half - 1 : half + first + distance - 1;
      weights[i] =
        source[place * (size + 1) * inputs * outputs + i % (inputs * outputs)]!;
    }
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(MODULE, this.className, {}, version);
  }
}
