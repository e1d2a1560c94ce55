/**
 * Checks of single constructor arguments, as Keras has them.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import type { KerasVersion } from "./keras_version.ts";
import type { RenormClipping } from "./options.ts";

/** A finite number, or the default for undefined. */
export function checkNumber(
  option: string,
  value: unknown,
  fallback: number,
): number {
  // Null is Keras' None, which is no way to leave an argument out.
  if (value === undefined) return fallback;
  // Keras stores what it is given; a NaN would only show in every output.
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new OptionError(
      `Cannot use ${option} ${String(value)}: expected a finite number`,
    );
  }
  return value;
}

/** A switch, or the default for undefined. */
export function checkBoolean(
  option: string,
  value: unknown,
  fallback: boolean,
): boolean {
  if (value === undefined) return fallback;
  // Configurations of Keras 1 and numpy users carry 0 and 1.
  if (value === 0 || value === 1) return value === 1;
  if (typeof value !== "boolean") {
    throw new OptionError(
      `Cannot use ${option} ${
        JSON.stringify(value) ?? String(value)
      }: expected true or false`,
    );
  }
  return value;
}

/** The bounds of renormalization. */
export function checkClipping(
  clipping: unknown,
  version: KerasVersion,
): RenormClipping {
  if (typeof clipping !== "object" || clipping === null) {
    throw new OptionError(
      `Cannot use renormClipping ${
        JSON.stringify(clipping) ?? String(clipping)
      }: expected an object with rmax, rmin and dmax, each optional`,
    );
  }
  const result: { rmax?: number; rmin?: number; dmax?: number } = {};
  for (const [key, value] of Object.entries(clipping)) {
    if (key !== "rmax" && key !== "rmin" && key !== "dmax") {
      throw new OptionError(
        `Cannot use renormClipping with the key "${key}": expected rmax, rmin and dmax only`,
      );
    }
    // In Python, None is a value like any other and means "no bound".
    if (value === null || value === undefined) continue;
    result[key] = checkNumber(`renormClipping.${key}`, value, 0);
  }
  if (version === "3") {
    const { rmax, rmin, dmax } = result;
    if (rmax !== undefined && rmin !== undefined && rmax < rmin) {
      throw new OptionError(
        `Cannot use renormClipping: rmax ${rmax} is below rmin ${rmin}`,
      );
    }
    if (dmax !== undefined && dmax < 0) {
      throw new OptionError(
        `Cannot use renormClipping: dmax ${dmax} is negative`,
      );
    }
  }
  return result;
}

/** A layer's name, or null. */
export function checkName(name: unknown, version: KerasVersion): string | null {
  if (name === undefined || name === null) return null;
  if (typeof name !== "string" || (version === "3" && name.includes("/"))) {
    throw new OptionError(
      `Cannot use name ${JSON.stringify(name)}: expected a string` +
        (version === "3" ? ` without "/", as Keras 3 does` : ""),
    );
  }
  return name;
}

/** A shape with null for extents that may vary. */
export function checkShape(
  option: string,
  shape: readonly unknown[],
): (number | null)[] {
  const isExtent = (extent: unknown): extent is number | null =>
    extent === null || (Number.isSafeInteger(extent) && extent as number >= 0);
  if (!Array.isArray(shape) || !shape.every(isExtent)) {
    throw new OptionError(
      `Cannot use ${option} ${
        JSON.stringify(shape)
      }: expected a list of extents, null for those that may vary`,
    );
  }
  return [...shape];
}
