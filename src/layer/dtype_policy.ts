/**
 * Keras' dtype policies: what a layer computes in and what its variables are.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { ElementType } from "../tensor.ts";
import type { KerasVersion } from "./keras_version.ts";

/** A policy resolved for a BatchNormalization layer. */
export interface DtypePolicy {
  /** The policy's Keras name, such as `"mixed_float16"`. */
  readonly name: string;
  /** The type that inputs are cast to, and that outputs have. */
  readonly compute: ElementType;
  /** The type of gamma, beta and the moving statistics. */
  readonly variable: ElementType;
}

/** Compute and variable type by policy name. */
const POLICIES: Readonly<Record<string, readonly [ElementType, ElementType]>> =
  {
    float32: ["float32", "float32"],
    float64: ["float64", "float64"],
    float16: ["float16", "float16"],
    bfloat16: ["bfloat16", "bfloat16"],
    mixed_float16: ["float16", "float32"],
    mixed_bfloat16: ["bfloat16", "float32"],
  };

/** TensorFlow's other names of these types; Keras 3 refuses them. */
const ALIASES: ReadonlyMap<unknown, string> = new Map([
  ["half", "float16"],
  ["float", "float32"],
  ["double", "float64"],
]);

/** The classes of serialized policies, of all releases. */
const POLICY_CLASSES: readonly unknown[] = [
  "Policy",
  "PolicyV1",
  "DTypePolicy",
  "FloatDTypePolicy",
];

/** The policy's name: the argument, or what is in its JSON if it is one. */
function policyName(dtype: unknown, kerasVersion: KerasVersion): unknown {
  if (typeof dtype !== "object" || dtype === null) {
    return kerasVersion === "3" ? dtype : ALIASES.get(dtype) ?? dtype;
  }
  const { class_name, config } = dtype as Record<string, unknown>;
  return POLICY_CLASSES.includes(class_name) && typeof config === "object" &&
      config !== null
    ? (config as { name?: unknown }).name
    : undefined;
}

/**
 * Resolves the `dtype` argument: a policy name, Keras' JSON of a policy
 * (`Policy`, `PolicyV1`, `DTypePolicy`, `FloatDTypePolicy`), or nothing for
 * float32. A policy of any release is read in every other.
 *
 * Keras 2 keeps the variables of a 16-bit layer in float32
 * (`_param_dtype`); Keras 3 does not.
 *
 * @throws {OptionError} If the policy is unknown or not a float type.
 */
export function resolveDtype(
  dtype: unknown,
  kerasVersion: KerasVersion,
): DtypePolicy {
  const name = policyName(dtype ?? "float32", kerasVersion);
  if (typeof name !== "string" || !Object.hasOwn(POLICIES, name)) {
    throw new OptionError(
      `Cannot use dtype ${JSON.stringify(dtype)}: expected ${
        Object.keys(POLICIES).map((known) => `"${known}"`).join(", ")
      }, or Keras' JSON of such a policy`,
    );
  }
  const [compute, variable] = POLICIES[name]!;
  const promoted = kerasVersion !== "3" &&
    (variable === "float16" || variable === "bfloat16");
  return { name, compute, variable: promoted ? "float32" : variable };
}
