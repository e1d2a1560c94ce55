/**
 * The random initializers that do not look at fans: RandomUniform,
 * RandomNormal, TruncatedNormal and Orthogonal.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import type { Initializer } from "./initializers.ts";
import {
  numberArgument,
  serializeBuiltIn,
  type SerializedObject,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import type { RandomGenerator } from "./random.ts";
import { draw, type SeedOptions, SeedSource } from "./seed.ts";

const MODULE = "keras.initializers";

/** The options of {@linkcode RandomUniform}. */
export interface RandomUniformOptions extends SeedOptions {
  /** The lower end; -0.05 by default. */
  readonly minval?: number;
  /** The upper end; 0.05 by default. */
  readonly maxval?: number;
}

/** Evenly distributed between two values. */
export class RandomUniform implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "RandomUniform";
  readonly #minval: number;
  readonly #maxval: number;
  readonly #seed: SeedSource;

  /**
   * Makes the initializer.
   *
   * @param options The two values and the seed.
   *
   * @throws {OptionError} If one of them is no number.
   */
  constructor(options: RandomUniformOptions = {}) {
    const owner = this.className;
    this.#minval = numberArgument(owner, "minval", options.minval, -0.05);
    this.#maxval = numberArgument(owner, "maxval", options.maxval, 0.05);
    this.#seed = new SeedSource(owner, options.seed);
  }

  /** Values for a shape. */
  call(shape: readonly number[]): Float64Array {
    const random = this.#seed.next();
    const range = this.#maxval - this.#minval;
    return draw(shape, () => this.#minval + range * random.uniform());
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    const range = { minval: this.#minval, maxval: this.#maxval };
    const config = this.#seed.addTo(range, version);
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}

/** The options of {@linkcode RandomNormal} and {@linkcode TruncatedNormal}. */
export interface RandomNormalOptions extends SeedOptions {
  /** The mean; 0 by default. */
  readonly mean?: number;
  /** The standard deviation, before truncation; 0.05 by default. */
  readonly stddev?: number;
}

/** Normally distributed. */
export class RandomNormal implements Initializer {
  /** The name of the Keras class. */
  get className(): string {
    return "RandomNormal";
  }
  readonly #mean: number;
  readonly #stddev: number;
  readonly #seed: SeedSource;

  /**
   * Makes the initializer.
   *
   * @param options The mean, the standard deviation and the seed.
   *
   * @throws {OptionError} If one of them is no number.
   */
  constructor(options: RandomNormalOptions = {}) {
    const owner = this.className;
    this.#mean = numberArgument(owner, "mean", options.mean, 0);
    this.#stddev = numberArgument(owner, "stddev", options.stddev, 0.05);
    this.#seed = new SeedSource(owner, options.seed);
  }

  /** One number of the standard distribution that is scaled and shifted. */
  protected standard(random: RandomGenerator): number {
    return random.normal();
  }

  /** Values for a shape. */
  call(shape: readonly number[]): Float64Array {
    const random = this.#seed.next();
    return draw(
      shape,
      () => this.#mean + this.#stddev * this.standard(random),
    );
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    const moments = { mean: this.#mean, stddev: this.#stddev };
    const config = this.#seed.addTo(moments, version);
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}

/** Normally distributed, drawn again outside of two standard deviations. */
export class TruncatedNormal extends RandomNormal {
  /** The name of the Keras class. */
  override get className(): string {
    return "TruncatedNormal";
  }

  /** A standard normal number within [-2, 2]. */
  protected override standard(random: RandomGenerator): number {
    return random.truncatedNormal();
  }
}

/** The options of {@linkcode Orthogonal}. */
export interface OrthogonalOptions extends SeedOptions {
  /** The length of the rows or columns; 1 by default. */
  readonly gain?: number;
}

/** Takes from vector `j` what it has in the direction of vector `i`. */
function removeProjection(vectors: Float64Array[], j: number, i: number): void {
  const target = vectors[j]!;
  const direction = vectors[i]!;
  let share = 0;
  for (let k = 0; k < target.length; k++) share += target[k]! * direction[k]!;
  for (let k = 0; k < target.length; k++) target[k]! -= share * direction[k]!;
}

/** Makes vectors orthogonal and of length 1, in their order, in place. */
function orthonormalize(vectors: Float64Array[]): void {
  for (let j = 0; j < vectors.length; j++) {
    // The second pass removes what rounding left of the first; "twice is
    // enough" (Kahan, in Parlett, "The symmetric eigenvalue problem", 1980).
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < j; i++) removeProjection(vectors, j, i);
    }
    const vector = vectors[j]!;
    let squares = 0;
    for (const value of vector) squares += value * value;
    const length = Math.sqrt(squares);
    for (let k = 0; k < vector.length; k++) vector[k]! /= length;
  }
}

/**
 * A random orthogonal matrix (Saxe, McClelland and Ganguli, "Exact solutions
 * to the nonlinear dynamics of learning in deep linear neural networks",
 * 2014), for weights of rank 2 and more: the last dimension is the columns,
 * the others together are the rows. The shorter of the two are orthonormal.
 *
 * It is the Q of a normal matrix's QR decomposition with a positive diagonal
 * of R, as Keras' is; that is what Gram-Schmidt gives.
 */
export class Orthogonal implements Initializer {
  /** The name of the Keras class. */
  readonly className: string = "Orthogonal";
  readonly #gain: number;
  readonly #seed: SeedSource;

  /**
   * Makes the initializer.
   *
   * @param options The gain and the seed.
   *
   * @throws {OptionError} If one of them is no number.
   */
  constructor(options: OrthogonalOptions = {}) {
    this.#gain = numberArgument(this.className, "gain", options.gain, 1);
    this.#seed = new SeedSource(this.className, options.seed);
  }

  /**
   * Values for a shape.
   *
   * @throws {ShapeError} If the rank is below 2.
   */
  call(shape: readonly number[]): Float64Array {
    const columns = shape.at(-1);
    if (shape.length < 2 || columns === undefined) {
      throw new ShapeError(
        `Cannot fill shape [${
          shape.join(", ")
        }] with Orthogonal: expected rank 2 or more, got ${shape.length}`,
      );
    }
    const values = new Float64Array(elementCount(shape));
    if (values.length === 0) return values;
    const rows = values.length / columns;
    const random = this.#seed.next();
    const vectors = Array.from(
      { length: Math.min(rows, columns) },
      () => draw([Math.max(rows, columns)], () => random.normal()),
    );
    orthonormalize(vectors);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const value = rows < columns
          ? vectors[row]![column]!
          : vectors[column]![row]!;
        values[row * columns + column] = this.#gain * value;
      }
    }
    return values;
  }

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    const config = this.#seed.addTo({ gain: this.#gain }, version);
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}
