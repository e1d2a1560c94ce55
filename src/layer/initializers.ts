/**
 * Keras' initializers: what fills a layer's new weights.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import { Constant, Identity, Ones, Zeros } from "./constant_initializers.ts";
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
import {
  Orthogonal,
  RandomNormal,
  RandomUniform,
  TruncatedNormal,
} from "./random_initializers.ts";
import {
  GlorotNormal,
  GlorotUniform,
  HeNormal,
  HeUniform,
  LecunNormal,
  LecunUniform,
} from "./named_scalings.ts";
import { VarianceScaling } from "./variance_scaling.ts";

export {
  Constant,
  GlorotNormal,
  GlorotUniform,
  HeNormal,
  HeUniform,
  Identity,
  LecunNormal,
  LecunUniform,
  Ones,
  Orthogonal,
  RandomNormal,
  RandomUniform,
  TruncatedNormal,
  VarianceScaling,
  Zeros,
};

/** What an initializer does. */
export interface InitializerBehaviour {
  /**
   * New values in row-major order, in float64; the layer rounds them to the
   * type of its weights.
   *
   * @throws {ShapeError} If the initializer cannot fill this shape.
   */
  call(shape: readonly number[]): Float64Array;
}

/**
 * What fills a layer's new weights.
 *
 * With a seed, every call with the same shape gives the same values, on every
 * engine; without, fresh ones. They follow Keras' distributions, but are not
 * the values that TensorFlow draws for that seed.
 */
export interface Initializer extends InitializerBehaviour, Serializable {}

/** An initializer of the user's: a method `call`, and optionally a name. */
export interface CustomInitializer {
  /** As many values as the shape has elements, in row-major order. */
  call(shape: readonly number[]): ArrayLike<number>;
  /** The name that it is saved under; by default, that of its class. */
  readonly className?: string;
  /** The arguments that are saved; by default, none. */
  getConfig?(): JsonObject;
}

/** A function that is an initializer. */
export type InitializerFunction = (
  shape: readonly number[],
) => ArrayLike<number>;

/**
 * What names or describes an initializer: a name such as `"he_normal"`, Keras
 * JSON of any version, an initializer, its class, or a function. Null is what
 * Keras makes of it: glorot_uniform.
 */
export type InitializerIdentifier =
  | string
  | KerasObject
  | Initializer
  | CustomInitializer
  | InitializerFunction
  | (new () => Initializer | CustomInitializer)
  | null;

// "dtype" is in the files of TensorFlow 1, and dropped by Keras too.
function builtIn(
  type: BuiltIn<Initializer>["type"],
  ...keys: string[]
): BuiltIn<Initializer> {
  return { type, keys: [...keys, "dtype"] };
}

const FAN_KEYS = ["seed", "input_axes", "output_axes"];

const BUILT_INS: ReadonlyMap<string, BuiltIn<Initializer>> = new Map([
  ["Zeros", builtIn(Zeros)],
  ["Ones", builtIn(Ones)],
  ["Constant", builtIn(Constant, "value")],
  ["RandomUniform", builtIn(RandomUniform, "minval", "maxval", "seed")],
  ["RandomNormal", builtIn(RandomNormal, "mean", "stddev", "seed")],
  ["TruncatedNormal", builtIn(TruncatedNormal, "mean", "stddev", "seed")],
  [
    "VarianceScaling",
    builtIn(VarianceScaling, "scale", "mode", "distribution", ...FAN_KEYS),
  ],
  ["GlorotUniform", builtIn(GlorotUniform, ...FAN_KEYS)],
  ["GlorotNormal", builtIn(GlorotNormal, ...FAN_KEYS)],
  ["HeUniform", builtIn(HeUniform, ...FAN_KEYS)],
  ["HeNormal", builtIn(HeNormal, ...FAN_KEYS)],
  ["LecunUniform", builtIn(LecunUniform, ...FAN_KEYS)],
  ["LecunNormal", builtIn(LecunNormal, ...FAN_KEYS)],
  ["Orthogonal", builtIn(Orthogonal, "gain", "seed")],
  ["Identity", builtIn(Identity, "gain")],
]);

/** Names of TensorFlow 1 and 2, Keras 3 and TensorFlow.js beside Keras' rule. */
function extraSpellings(): Record<string, string> {
  const extra: Record<string, string> = {
    zero: "Zeros",
    one: "Ones",
    normal: "RandomNormal",
    uniform: "RandomUniform",
    IdentityInitializer: "Identity",
    OrthogonalInitializer: "Orthogonal",
    LeCunUniform: "LecunUniform",
    LeCunNormal: "LecunNormal",
  };
  for (const name of BUILT_INS.keys()) extra[`${name}V2`] = name;
  for (const author of ["glorot", "he", "lecun"]) {
    const capital = author[0]!.toUpperCase() + author.slice(1);
    extra[`${author}_uniformV2`] = `${capital}Uniform`;
    extra[`${author}_normalV2`] = `${capital}Normal`;
  }
  return extra;
}

/** Calls an initializer of the user's and checks what it returns. */
function checkedCall(
  values: unknown,
  shape: readonly number[],
): Float64Array {
  const count = elementCount(shape);
  const length = typeof values === "object" && values !== null
    ? (values as ArrayLike<number>).length
    : undefined;
  if (typeof length !== "number") {
    throw new OptionError(
      `Cannot use a custom initializer: expected it to return an array of numbers, got ${
        show(values)
      }`,
    );
  }
  if (length !== count) {
    throw new ShapeError(
      `Cannot fill shape [${
        shape.join(", ")
      }] with a custom initializer: expected ${count} values, got ${length}`,
    );
  }
  return Float64Array.from(values as ArrayLike<number>);
}

const FAMILY: ObjectFamily<InitializerBehaviour> = {
  kind: "initializer",
  builtIns: BUILT_INS,
  aliases: spellings(BUILT_INS.keys(), extraSpellings()),
  adapt(candidate) {
    const { call } = candidate as Partial<CustomInitializer>;
    if (typeof call !== "function") return undefined;
    return {
      call: (shape) => checkedCall(call.apply(candidate, [shape]), shape),
    };
  },
  fromFunction(callback: AnyFunction) {
    const call = callback as InitializerFunction;
    return { call: (shape) => checkedCall(call(shape), shape) };
  },
  unusable: (fail) => ({ call: fail }),
};

/**
 * The initializer that a name, Keras JSON, a function or an object stands for.
 *
 * @param identifier The name or whatever else; see
 * {@linkcode InitializerIdentifier}.
 * @param options Whose rules apply, and whether the unknown is kept.
 * @returns The initializer.
 *
 * @throws {OptionError} If the identifier is unknown or malformed, or an
 * argument in it is not allowed.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { resolveInitializer } from "@evenkeel/evenkeel";
 *
 * const ones = resolveInitializer("ones");
 * assertEquals(ones.call([3]), new Float64Array([1, 1, 1]));
 *
 * const seeded = resolveInitializer({ class_name: "HeNormal", config: { seed: 1 } });
 * assertEquals(seeded.call([64]), seeded.call([64]));
 * ```
 */
export function resolveInitializer(
  identifier: InitializerIdentifier | undefined,
  options: ResolveOptions = {},
): Initializer {
  if (identifier !== null && identifier !== undefined) {
    return resolveObject(FAMILY, identifier, options);
  }
  // Keras saves null as it came, and substitutes it in `add_weight` only.
  const substitute = new GlorotUniform();
  return {
    className: substitute.className,
    call: (shape) => substitute.call(shape),
    toConfig: () => null,
  };
}
