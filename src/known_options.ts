/**
 * A check that all options functions share.
 *
 * @module
 */

import { OptionError } from "./errors.ts";

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
  if (typeof options !== "object" || options === null) {
    throw new OptionError(
      `Cannot use the options of ${where}: expected an object with ${names}, got ${options}`,
    );
  }
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(known, key)) continue;
    throw new OptionError(
      `Cannot use the option "${key}" of ${where}: expected one of ${names}`,
    );
  }
}
