/**
 * Keras' regularizers: penalties on weights that are added to the loss.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
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
import { OrthogonalRegularizer } from "./orthogonal_regularizer.ts";
import { L1, L1L2, L1L2Function, L2 } from "./penalties.ts";

export { L1, L1L2, L2, OrthogonalRegularizer };

/** What a regularizer does. */
export interface RegularizerBehaviour {
  /**
   * The penalty, in float64.
   *
   * @param weights The values in row-major order.
   * @param shape Their shape, by default one dimension.
   */
  loss(weights: ArrayLike<number>, shape?: readonly number[]): number;
  /**
   * Adds the penalty's derivative by every weight, in float64.
   *
   * @param weights The values in row-major order.
   * @param into What is added to, one element for each weight.
   * @param shape The shape of the weights, by default one dimension.
   */
  gradient(
    weights: ArrayLike<number>,
    into: Float64Array,
    shape?: readonly number[],
  ): void;
}

/** A penalty on a weight that is added to the loss. */
export interface Regularizer extends RegularizerBehaviour, Serializable {}

/** A regularizer of the user's: its two methods, and optionally a name. */
export interface CustomRegularizer extends RegularizerBehaviour {
  /** The name that it is saved under; by default, that of its class. */
  readonly className?: string;
  /** The arguments that are saved; by default, none. */
  getConfig?(): JsonObject;
}

/**
 * A function that is a regularizer: the penalty of the weights.
 *
 * Its derivative is estimated by central differences, with two calls for each
 * weight and about ten correct digits where the function is smooth. An object
 * with `loss` and `gradient` is exact and faster.
 */
export type RegularizerFunction = (
  weights: Float64Array,
  shape: readonly number[],
) => number;

/**
 * What names or describes a regularizer: a name such as `"l2"`, Keras JSON of
 * any version, a regularizer, its class, or a function. Null is none.
 */
export type RegularizerIdentifier =
  | string
  | KerasObject
  | Regularizer
  | CustomRegularizer
  | RegularizerFunction
  | (new () => Regularizer | CustomRegularizer)
  | null;

const BUILT_INS: ReadonlyMap<string, BuiltIn<Regularizer>> = new Map<
  string,
  BuiltIn<Regularizer>
>([
  ["L1", { type: L1, keys: ["l1", "l"] }],
  ["L2", { type: L2, keys: ["l2", "l"] }],
  ["L1L2", { type: L1L2, keys: ["l1", "l2"] }],
  ["l1_l2", { type: L1L2Function, keys: ["l1", "l2"] }],
  [
    "OrthogonalRegularizer",
    { type: OrthogonalRegularizer, keys: ["factor", "mode"] },
  ],
]);

function checkedLoss(loss: unknown): number {
  if (typeof loss === "number") return loss;
  throw new OptionError(
    `Cannot use a custom regularizer: expected it to return a number, got ${
      show(loss)
    }`,
  );
}

/** The cube root of 2^-52, at which a central difference errs least. */
const RELATIVE_STEP = Math.cbrt(Number.EPSILON);

/** Adds the derivative of a function, estimated by central differences. */
function addDifferences(
  penalty: RegularizerFunction,
  weights: ArrayLike<number>,
  into: Float64Array,
  shape: readonly number[],
): void {
  const point = Float64Array.from(weights);
  for (let i = 0; i < point.length; i++) {
    const w = point[i]!;
    const step = RELATIVE_STEP * Math.max(1, Math.abs(w));
    const above = w + step;
    const below = w - step;
    // Copies, as the function is the user's and may write.
    const at = (value: number): number => {
      const moved = point.slice();
      moved[i] = value;
      return checkedLoss(penalty(moved, shape));
    };
    into[i]! += (at(above) - at(below)) / (above - below);
  }
}

const FAMILY: ObjectFamily<RegularizerBehaviour> = {
  kind: "regularizer",
  builtIns: BUILT_INS,
  aliases: spellings(
    [...BUILT_INS.keys()].filter((name) => name !== "L1L2"),
    { l1l2: "L1L2" },
  ),
  adapt(candidate) {
    const { loss, gradient } = candidate as Partial<CustomRegularizer>;
    if (typeof loss !== "function" || typeof gradient !== "function") {
      return undefined;
    }
    return {
      loss: (weights, shape = [weights.length]) =>
        checkedLoss(loss.apply(candidate, [weights, shape])),
      gradient: (weights, into, shape = [weights.length]) =>
        gradient.apply(candidate, [weights, into, shape]),
    };
  },
  fromFunction(callback: AnyFunction) {
    const penalty = callback as RegularizerFunction;
    return {
      loss: (weights, shape = [weights.length]) =>
        checkedLoss(penalty(Float64Array.from(weights), shape)),
      gradient: (weights, into, shape = [weights.length]) =>
        addDifferences(penalty, weights, into, shape),
    };
  },
  unusable: (fail) => ({ loss: fail, gradient: fail }),
};

/**
 * The regularizer that a name, Keras JSON, a function or an object stands for.
 *
 * @param identifier The name or whatever else; see
 * {@linkcode RegularizerIdentifier}.
 * @param options Whose rules apply, and whether the unknown is kept.
 * @returns The regularizer, or null for none.
 *
 * @throws {OptionError} If the identifier is unknown or malformed, or an
 * argument in it is not allowed.
 *
 * @example Usage
 * ```ts
 * import { assertAlmostEquals, assertEquals } from "@std/assert";
 * import { resolveRegularizer } from "@evenkeel/evenkeel";
 *
 * const l2 = resolveRegularizer({ class_name: "L2", config: { l2: 0.5 } })!;
 * assertEquals(l2.loss([1, 2, 3]), 7);
 *
 * const cubes = resolveRegularizer((w: Float64Array) => w.reduce((sum, v) => sum + v ** 3, 0))!;
 * const gradient = new Float64Array(2);
 * cubes.gradient([1, 2], gradient);
 * assertAlmostEquals(gradient[1]!, 12, 1e-8);
 * ```
 */
export function resolveRegularizer(
  identifier: RegularizerIdentifier | undefined,
  options: ResolveOptions = {},
): Regularizer | null {
  if (identifier === null || identifier === undefined) return null;
  return resolveObject(FAMILY, identifier, options);
}
