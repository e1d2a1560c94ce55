/**
 * The table of all operators.
 *
 * @module
 */

import { NORMALIZATIONS } from "./batch_normalization.ts";
import { BINARY } from "./binary.ts";
import { CASTS } from "./cast.ts";
import { CLAMPS } from "./clamp.ts";
import { CONSTANTS } from "./constants.ts";
import { MOVES } from "./move.ts";
import type { Operator, OperatorTable } from "./operator.ts";
import { REDUCTIONS } from "./reduce.ts";
import { UNARY } from "./unary.ts";
import { VIEWS } from "./views.ts";

// Marked, so that bundlers can leave it and all operators out.
const TABLE: OperatorTable = /* @__PURE__ */ (() => ({
  ...BINARY,
  ...CASTS,
  ...CLAMPS,
  ...CONSTANTS,
  ...MOVES,
  ...NORMALIZATIONS,
  ...REDUCTIONS,
  ...UNARY,
  ...VIEWS,
}))();

/** An operator of ONNX' own domain; undefined if the session has it not. */
export function operatorNamed(name: string): Operator | undefined {
  return Object.hasOwn(TABLE, name) ? TABLE[name] : undefined;
}

/**
 * The names of the ONNX operators that a session runs, in alphabetical order.
 *
 * @example Usage
 * ```ts
 * import { assert } from "@std/assert";
 * import { SESSION_OPERATORS } from "./table.ts";
 *
 * assert(SESSION_OPERATORS.includes("BatchNormalization"));
 * ```
 */
export const SESSION_OPERATORS: readonly string[] =
  /* @__PURE__ */ (() => Object.keys(TABLE).sort())();

/**
 * The newest version of ONNX' operators whose changes were read: no operator
 * of the table changed its meaning up to there.
 */
export const NEWEST_OPSET = 28;
