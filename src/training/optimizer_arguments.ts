/**
 * Checks of the arguments of optimizers.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { show } from "../layer/keras_object.ts";

/**
 * An argument that must be a finite number.
 *
 * @throws {OptionError} If it is anything else.
 */
export function finite(
  owner: string,
  name: string,
  value: unknown,
  fallback: number,
): number {
  if (value === undefined) return fallback;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new OptionError(
    `Cannot make ${owner}: expected ${name} to be a finite number, got ${
      typeof value === "number" ? value : show(value)
    }`,
  );
}

/**
 * An argument that must be true or false.
 *
 * @throws {OptionError} If it is anything else.
 */
export function flag(owner: string, name: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value === "boolean") return value;
  throw new OptionError(
    `Cannot make ${owner}: expected ${name} to be true or false, got ${
      show(value)
    }`,
  );
}

/**
 * An argument that must be a number of 0 or more, or null.
 *
 * @throws {OptionError} If it is anything else.
 */
export function orNull(
  owner: string,
  name: string,
  value: number | null | undefined,
): number | null {
  if (value === null || value === undefined) return null;
  const number = finite(owner, name, value, 0);
  if (number >= 0) return number;
  throw new OptionError(
    `Cannot make ${owner}: expected ${name} to be 0 or more, got ${number}`,
  );
}

/**
 * A momentum.
 *
 * @throws {OptionError} If it is not from 0 to 1.
 */
export function momentumArgument(owner: string, value: unknown): number {
  const momentum = finite(owner, "momentum", value, 0);
  if (momentum >= 0 && momentum <= 1) return momentum;
  throw new OptionError(
    `Cannot make ${owner}: expected momentum to be from 0 to 1, got ${momentum}`,
  );
}

/** Keras' `backend.epsilon()`. */
const EPSILON = 1e-7;

/**
 * An epsilon, 1e-7 by default. Up to TensorFlow 2.10, 0 and None mean the
 * default too (`epsilon or backend.epsilon()`).
 *
 * @throws {OptionError} If it is no finite number.
 */
export function epsilonArgument(
  owner: string,
  value: unknown,
  legacy: boolean,
): number {
  if (legacy && (value === 0 || value === null)) return EPSILON;
  return finite(owner, "epsilon", value, EPSILON);
}
