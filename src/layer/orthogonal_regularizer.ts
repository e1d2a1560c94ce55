/**
 * The regularizer of TensorFlow 2.9 and Keras 3 that wants orthogonal rows.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import {
  serializeBuiltIn,
  type SerializedObject,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import { penaltyNumber, type PenaltyOptions } from "./penalties.ts";
import type { Regularizer } from "./regularizers.ts";

/** The options of {@linkcode OrthogonalRegularizer}. */
export interface OrthogonalRegularizerOptions extends PenaltyOptions {
  /** The coefficient; 0.01 by default. */
  readonly factor?: number;
  /** What shall be orthogonal: `"rows"` (the default) or `"columns"`. */
  readonly mode?: "rows" | "columns";
}

/** Keras divides by the root of the squares' sum, but of no less than this. */
const SMALLEST_SQUARES = 1e-12;

/** Vectors scaled to length 1, and the factors that did it. */
interface Directions {
  readonly vectors: Float64Array[];
  readonly inverses: number[];
  /** Whether the length is that of the vector, not the smallest one. */
  readonly free: boolean[];
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!;
  return sum;
}

/**
 * The mean magnitude of the cosines between all pairs of rows, or columns,
 * of a weight of rank 2, times `factor`.
 */
export class OrthogonalRegularizer implements Regularizer {
  /** The name of the Keras class. */
  readonly className: string = "OrthogonalRegularizer";
  readonly #factor: number;
  readonly #mode: "rows" | "columns";

  /**
   * Makes the regularizer.
   *
   * @param options The coefficient and the mode.
   *
   * @throws {OptionError} If the coefficient is no finite number, or the mode
   * is none.
   */
  constructor(options: OrthogonalRegularizerOptions = {}) {
    const { factor = 0.01, mode = "rows", kerasVersion = "2.4" } = options;
    this.#factor = Math.fround(penaltyNumber("factor", factor, kerasVersion));
    if (mode !== "rows" && mode !== "columns") {
      throw new OptionError(
        `Cannot make OrthogonalRegularizer: expected mode "rows" or "columns", got ${
          show(mode)
        }`,
      );
    }
    this.#mode = mode;
  }

  /** Where element `k` of vector `i` stands in the weight. */
  #index(shape: readonly number[]): {
    readonly count: number;
    readonly length: number;
    readonly at: (i: number, k: number) => number;
  } {
    const [rows, columns] = shape;
    if (shape.length !== 2 || rows === undefined || columns === undefined) {
      throw new ShapeError(
        `Cannot use OrthogonalRegularizer on shape [${
          shape.join(", ")
        }]: expected rank 2, got ${shape.length}`,
      );
    }
    return this.#mode === "rows"
      ? { count: rows, length: columns, at: (i, k) => i * columns + k }
      : { count: columns, length: rows, at: (i, k) => k * columns + i };
  }

  #directions(
    weights: ArrayLike<number>,
    shape: readonly number[],
  ): Directions {
    const { count, length, at } = this.#index(shape);
    const result: Directions = { vectors: [], inverses: [], free: [] };
    for (let i = 0; i < count; i++) {
      const vector = new Float64Array(length);
      for (let k = 0; k < length; k++) vector[k] = weights[at(i, k)]!;
      const squares = dot(vector, vector);
      const inverse = 1 / Math.sqrt(Math.max(squares, SMALLEST_SQUARES));
      for (let k = 0; k < length; k++) vector[k]! *= inverse;
      result.vectors.push(vector);
      result.inverses.push(inverse);
      result.free.push(squares > SMALLEST_SQUARES);
    }
    return result;
  }

  /** The coefficient over the number of pairs. */
  #share(count: number): number {
    return this.#factor / (count * (count - 1) / 2);
  }

  /**
   * The penalty.
   *
   * @throws {ShapeError} If the rank is not 2.
   */
  loss(
    weights: ArrayLike<number>,
    shape: readonly number[] = [weights.length],
  ): number {
    const { vectors } = this.#directions(weights, shape);
    let sum = 0;
    for (let i = 0; i < vectors.length; i++) {
      for (let j = 0; j < i; j++) {
        sum += Math.abs(dot(vectors[i]!, vectors[j]!));
      }
    }
    return this.#share(vectors.length) * sum;
  }

  /**
   * Adds the derivative.
   *
   * For directions r = x / |x|, with the derivative g by r:
   * the derivative by x is (g - r (r . g)) / |x|.
   *
   * @throws {ShapeError} If the rank is not 2.
   */
  gradient(
    weights: ArrayLike<number>,
    into: Float64Array,
    shape: readonly number[] = [weights.length],
  ): void {
    const { vectors, inverses, free } = this.#directions(weights, shape);
    const { length, at } = this.#index(shape);
    const share = this.#share(vectors.length);
    vectors.forEach((vector, i) => {
      const byDirection = new Float64Array(length);
      vectors.forEach((other, j) => {
        if (i === j) return;
        const sign = Math.sign(dot(vector, other));
        for (let k = 0; k < length; k++) byDirection[k]! += sign * other[k]!;
      });
      const along = free[i] ? dot(vector, byDirection) : 0;
      for (let k = 0; k < length; k++) {
        into[at(i, k)]! += share * inverses[i]! *
          (byDirection[k]! - vector[k]! * along);
      }
    });
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    const config = { factor: this.#factor, mode: this.#mode };
    return serializeBuiltIn(
      "keras.regularizers",
      this.className,
      config,
      version,
    );
  }
}
