/**
 * The constraints on norms: MaxNorm, MinMaxNorm and UnitNorm.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import type { Constraint } from "./constraints.ts";
import {
  type JsonObject,
  numberArgument,
  serializeBuiltIn,
  type SerializedObject,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";

/** Keras' `backend.epsilon()`, which keeps a division by a norm of 0 away. */
const EPSILON = 1e-7;

/** The axes that a norm is over: one, several, or null for all. */
export type NormAxis = number | readonly number[] | null;

/** The option that all constraints on norms have. */
export interface NormOptions {
  /** The axes that the norm is over; 0 by default. */
  readonly axis?: NormAxis;
}

/** The options of {@linkcode MaxNorm}. */
export interface MaxNormOptions extends NormOptions {
  /** The largest norm; 2 by default. */
  readonly maxValue?: number;
}

/** The options of {@linkcode MinMaxNorm}. */
export interface MinMaxNormOptions extends NormOptions {
  /** The smallest norm; 0 by default. */
  readonly minValue?: number;
  /** The largest norm; 1 by default. */
  readonly maxValue?: number;
  /** Which share of the way to go at each update; 1 by default. */
  readonly rate?: number;
}

function axisArgument(owner: string, axis: unknown): NormAxis {
  if (axis === undefined) return 0;
  const integers = Array.isArray(axis) ? axis : [axis];
  if (axis === null || integers.every(Number.isInteger)) {
    return axis as NormAxis;
  }
  throw new OptionError(
    `Cannot make ${owner}: expected axis to be an integer, a list of integers or null, got ${
      show(axis)
    }`,
  );
}

/** Which dimensions of a shape are reduced. */
function reducedDimensions(
  owner: string,
  axis: NormAxis,
  shape: readonly number[],
): boolean[] {
  const reduced = shape.map(() => axis === null);
  for (const one of axis === null ? [] : [axis].flat()) {
    const index = one < 0 ? one + shape.length : one;
    if (reduced[index] !== false) {
      throw new ShapeError(
        `Cannot use ${owner} with axis ${show(axis)} on shape [${
          shape.join(", ")
        }]: axis ${one} is out of range or twice there`,
      );
    }
    reduced[index] = true;
  }
  return reduced;
}

/** For every element of a shape, the number of the norm that it is part of. */
function groupsOf(
  shape: readonly number[],
  reduced: readonly boolean[],
): Uint32Array {
  const groups = new Uint32Array(elementCount(shape));
  let inner = 1; // elements in one step of this dimension
  let kept = 1; // norms in one step of this dimension
  for (let d = shape.length - 1; d >= 0; d--) {
    const extent = shape[d]!;
    if (!reduced[d]) {
      for (let i = 0; i < groups.length; i++) {
        groups[i]! += kept * (Math.floor(i / inner) % extent);
      }
      kept *= extent;
    }
    inner *= extent;
  }
  return groups;
}

/** Multiplies weights by what depends on their norm, `sqrt(sum(w^2))`. */
export abstract class NormConstraint implements Constraint {
  /** The name of the Keras class. */
  abstract readonly className: string;
  /** The axes that the norm is over. */
  protected readonly axis: NormAxis;

  /** Checks the axes. */
  constructor(owner: string, axis: unknown) {
    this.axis = axisArgument(owner, axis);
  }

  /** The norm that weights of this norm shall have. */
  protected abstract desired(norm: number): number;

  /** Replaces weights by `w * desired / (1e-7 + norm)`, as Keras does. */
  apply(weights: Float32Array | Float64Array, shape: readonly number[]): void {
    const reduced = reducedDimensions(this.className, this.axis, shape);
    const groups = groupsOf(shape, reduced);
    if (groups.length !== weights.length) {
      throw new ShapeError(
        `Cannot use ${this.className} on shape [${
          shape.join(", ")
        }]: expected ${groups.length} values, got ${weights.length}`,
      );
    }
    const factors = new Float64Array(groups.length);
    for (let i = 0; i < groups.length; i++) {
      factors[groups[i]!]! += weights[i]! ** 2;
    }
    for (let group = 0; group < factors.length; group++) {
      const norm = Math.sqrt(factors[group]!);
      factors[group] = this.desired(norm) / (EPSILON + norm);
    }
    for (let i = 0; i < groups.length; i++) weights[i]! *= factors[groups[i]!]!;
  }

  /** The arguments. */
  protected abstract config(): JsonObject;

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(
      "keras.constraints",
      this.className,
      this.config(),
      version,
    );
  }
}

/** Keras' `clip`: with bounds the wrong way round, the smaller one wins. */
function clip(value: number, least: number, most: number): number {
  return Math.max(Math.min(value, most), least);
}

/**
 * Norms of at most `maxValue`.
 *
 * On a vector of channels with axis 0 the norm is one for all channels. Norms
 * that are allowed shrink too, by the factor `norm / (1e-7 + norm)`.
 *
 * @example Usage
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * import { MaxNorm } from "@evenkeel/evenkeel";
 *
 * const gamma = new Float32Array([3, 4]); // of norm 5
 * new MaxNorm({ maxValue: 1 }).apply(gamma, [2]);
 * assertAlmostEquals(gamma[0]!, 0.6, 1e-6);
 * assertAlmostEquals(gamma[1]!, 0.8, 1e-6);
 * ```
 */
export class MaxNorm extends NormConstraint {
  /** The name of the Keras class. */
  override readonly className: string = "MaxNorm";
  readonly #maxValue: number;

  /**
   * Makes the constraint.
   *
   * @param options The largest norm and the axes.
   *
   * @throws {OptionError} If one of them is none.
   */
  constructor(options: MaxNormOptions = {}) {
    super("MaxNorm", options.axis);
    this.#maxValue = numberArgument(
      "MaxNorm",
      "max_value",
      options.maxValue,
      2,
    );
  }

  /** The norm that weights of this norm shall have. */
  protected override desired(norm: number): number {
    return clip(norm, 0, this.#maxValue);
  }

  /** The arguments. */
  protected override config(): JsonObject {
    return { max_value: this.#maxValue, axis: this.axis };
  }
}

/** Norms of 1. */
export class UnitNorm extends NormConstraint {
  /** The name of the Keras class. */
  override readonly className: string = "UnitNorm";

  /**
   * Makes the constraint.
   *
   * @param options The axes.
   *
   * @throws {OptionError} If the axes are none.
   */
  constructor(options: NormOptions = {}) {
    super("UnitNorm", options.axis);
  }

  /** The norm that weights of this norm shall have. */
  protected override desired(): number {
    return 1;
  }

  /** The arguments. */
  protected override config(): JsonObject {
    return { axis: this.axis };
  }
}

/** Norms of `minValue` to `maxValue`, approached by a share of `rate`. */
export class MinMaxNorm extends NormConstraint {
  /** The name of the Keras class. */
  override readonly className: string = "MinMaxNorm";
  readonly #minValue: number;
  readonly #maxValue: number;
  readonly #rate: number;

  /**
   * Makes the constraint.
   *
   * @param options The norms, the rate and the axes.
   *
   * @throws {OptionError} If one of them is none.
   */
  constructor(options: MinMaxNormOptions = {}) {
    const owner = "MinMaxNorm";
    super(owner, options.axis);
    this.#minValue = numberArgument(owner, "min_value", options.minValue, 0);
    this.#maxValue = numberArgument(owner, "max_value", options.maxValue, 1);
    this.#rate = numberArgument(owner, "rate", options.rate, 1);
  }

  /** The norm that weights of this norm shall have. */
  protected override desired(norm: number): number {
    const clipped = clip(norm, this.#minValue, this.#maxValue);
    return this.#rate * clipped + (1 - this.#rate) * norm;
  }

  /** The arguments. */
  protected override config(): JsonObject {
    return {
      min_value: this.#minValue,
      max_value: this.#maxValue,
      rate: this.#rate,
      axis: this.axis,
    };
  }
}
