/**
 * Checks that all options functions share.
 *
 * @module
 */

import { OptionError } from "./errors.ts";

function unknownKey(
  options: object,
  known: Readonly<Record<string, true>>,
): string | undefined {
  return Object.keys(options).find((key) => !Object.hasOwn(known, key));
}

/**
 * Finds an option that is not known, for callers that say in their own words
 * what cannot be done.
 *
 * @param options What came.
 * @param known The options by name; a Record, so that the compiler notices one
 * that is missing.
 * @returns The rest of the message, as in `unknown option "x", expected a, b`;
 * undefined if all are known.
 */
export function unknownOption(
  options: object,
  known: Readonly<Record<string, true>>,
): string | undefined {
  const key = unknownKey(options, known);
  return key === undefined
    ? undefined
    : `unknown option "${key}", expected ${Object.keys(known).join(", ")}`;
}

/**
 * Checks that options are an object with known keys only, so that a typing
 * mistake does not pass silently.
 *
 * @param where What takes them, as in "Cannot use the option "x" of where".
 * @param options What came.
 * @param known The options by name; a Record, so that the compiler notices one
 * that is missing.
 *
 * @throws {OptionError} If they are no object, or a key is unknown.
 */
export function checkKnown(
  where: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
): void {
  const names = Object.keys(known).join(", ");
  const isList = Array.isArray(options);
  if (typeof options !== "object" || options === null || isList) {
    throw new OptionError(
      `Cannot use the options of ${where}: expected an object with ${names}, got ${
        isList ? "an array" : options
      }`,
    );
  }
  const key = unknownKey(options, known);
  if (key === undefined) return;
  throw new OptionError(
    `Cannot use the option "${key}" of ${where}: expected one of ${names}`,
  );
}
