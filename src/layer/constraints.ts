/**
 * Keras' constraints: projections of weights after every update.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import {
  type JsonObject,
  type KerasObject,
  type Serializable,
  show,
} from "./keras_object.ts";
import {
  type AnyFunction,
  type BuiltIn,
  type ObjectFamily,
  resolveObject,
  type ResolveOptions,
  spellings,
} from "./object_family.ts";
import { MaxNorm, MinMaxNorm, UnitNorm } from "./norm_constraints.ts";
import { NonNeg, RadialConstraint } from "./value_constraints.ts";

export { MaxNorm, MinMaxNorm, NonNeg, RadialConstraint, UnitNorm };

/** What a constraint does. */
export interface ConstraintBehaviour {
  /**
   * Replaces weights by their projection, in place.
   *
   * Computed in float64 and rounded once to the type of the array; TensorFlow
   * rounds float32 weights after each of about five operations, so that both
   * agree to a few units in the last place.
   *
   * @param weights The values in row-major order.
   * @param shape Their shape.
   *
   * @throws {ShapeError} If the constraint cannot be used on this shape;
   * nothing is changed then.
   */
  apply(weights: Float32Array | Float64Array, shape: readonly number[]): void;
}

/** A projection of a weight, applied after every update of it. */
export interface Constraint extends ConstraintBehaviour, Serializable {}

/** A constraint of the user's: a method `apply`, and optionally a name. */
export interface CustomConstraint extends ConstraintBehaviour {
  /** The name that it is saved under; by default, that of its class. */
  readonly className?: string;
  /** The arguments that are saved; by default, none. */
  getConfig?(): JsonObject;
}

/** A function that is a constraint: it returns the new values. */
export type ConstraintFunction = (
  weights: Float64Array,
  shape: readonly number[],
) => ArrayLike<number>;

/**
 * What names or describes a constraint: a name such as `"max_norm"`, Keras
 * JSON of any version, a constraint, its class, or a function. Null is none.
 */
export type ConstraintIdentifier =
  | string
  | KerasObject
  | Constraint
  | CustomConstraint
  | ConstraintFunction
  | (new () => Constraint | CustomConstraint)
  | null;

const BUILT_INS: ReadonlyMap<string, BuiltIn<Constraint>> = new Map<
  string,
  BuiltIn<Constraint>
>([
  ["MaxNorm", { type: MaxNorm, keys: ["max_value", "axis"] }],
  ["NonNeg", { type: NonNeg, keys: [] }],
  ["UnitNorm", { type: UnitNorm, keys: ["axis"] }],
  [
    "MinMaxNorm",
    { type: MinMaxNorm, keys: ["min_value", "max_value", "rate", "axis"] },
  ],
  ["RadialConstraint", { type: RadialConstraint, keys: [] }],
]);

/** Writes what a function of the user's returned, if it fits. */
function replace(
  weights: Float32Array | Float64Array,
  values: unknown,
  shape: readonly number[],
): void {
  const length = typeof values === "object" && values !== null
    ? (values as ArrayLike<number>).length
    : undefined;
  if (typeof length !== "number") {
    throw new OptionError(
      `Cannot use a custom constraint: expected it to return an array of numbers, got ${
        show(values)
      }`,
    );
  }
  if (length !== elementCount(shape)) {
    throw new ShapeError(
      `Cannot use a custom constraint on shape [${
        shape.join(", ")
      }]: expected ${elementCount(shape)} values, got ${length}`,
    );
  }
  weights.set(values as ArrayLike<number>);
}

const FAMILY: ObjectFamily<ConstraintBehaviour> = {
  kind: "constraint",
  builtIns: BUILT_INS,
  aliases: spellings(BUILT_INS.keys(), {
    maxnorm: "MaxNorm",
    nonneg: "NonNeg",
    unitnorm: "UnitNorm",
  }),
  adapt(candidate) {
    const { apply } = candidate as Partial<CustomConstraint>;
    if (typeof apply !== "function") return undefined;
    return {
      apply: (weights, shape) => apply.apply(candidate, [weights, shape]),
    };
  },
  fromFunction(callback: AnyFunction) {
    const project = callback as ConstraintFunction;
    return {
      apply(weights, shape) {
        replace(weights, project(Float64Array.from(weights), shape), shape);
      },
    };
  },
  unusable: (fail) => ({ apply: fail }),
};

/**
 * The constraint that a name, Keras JSON, a function or an object stands for.
 *
 * @param identifier The name or whatever else; see
 * {@linkcode ConstraintIdentifier}.
 * @param options Whose rules apply, and whether the unknown is kept.
 * @returns The constraint, or null for none.
 *
 * @throws {OptionError} If the identifier is unknown or malformed, or an
 * argument in it is not allowed.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveConstraint } from "@evenkeel/evenkeel";
 *
 * const weights = new Float32Array([-1, 0.5, 2]);
 * resolveConstraint((w: Float64Array) => w.map((v) => Math.min(v, 1)))!.apply(weights, [3]);
 * assertEquals(weights, new Float32Array([-1, 0.5, 1]));
 * ```
 */
export function resolveConstraint(
  identifier: ConstraintIdentifier | undefined,
  options: ResolveOptions = {},
): Constraint | null {
  if (identifier === null || identifier === undefined) return null;
  return resolveObject(FAMILY, identifier, options);
}
