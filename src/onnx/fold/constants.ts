/**
 * The constants that folding reads: floating point, and the same in every run.
 *
 * @module
 */

import {
  type Constant,
  type FloatConstant,
  floatConstant,
  traceConstant,
  tryConstant,
} from "../constants.ts";
import { annotatedValues } from "./annotations.ts";
import type { OpenModel } from "../open.ts";
import type { Scope } from "../scopes.ts";
import type { NodeView } from "../view.ts";
import { CONSTANT_IR_VERSION } from "../versions.ts";

/** Why something cannot be folded. */
export interface Refused {
  readonly reason: string;
}

/**
 * Why a constant is not the same in every run: since version 4 of the format
 * an initializer is listed as a graph input only so that callers may replace
 * it. Before, each one had to be, and onnxruntime takes them for constants.
 */
export function changeableReason(
  { view }: OpenModel,
  { origin, words }: Constant,
): string | undefined {
  return origin.isInput && view.irVersion >= CONSTANT_IR_VERSION
    ? `${words}: a caller may feed another`
    : undefined;
}

/** An attribute that the call of a node's function gives, if there is one. */
export function callAttribute({ attributes }: NodeView): string | undefined {
  for (const { name, refAttrName } of attributes.values()) {
    if (refAttrName !== undefined) return name;
  }
  return undefined;
}

/**
 * Why a constant cannot get new elements: with the old scale and zero point,
 * those would be quantized badly.
 */
function annotatedReason(
  open: OpenModel,
  { origin, chain, words }: Constant,
): string | undefined {
  const annotated = annotatedValues(open);
  return [origin, ...chain].some((value) => annotated.has(value))
    ? `${words}: a quantization annotation names it`
    : undefined;
}

/**
 * The floating point constant that a node's input is in every run, and that
 * may get new elements; or why it is none.
 */
export function fixedConstant(
  open: OpenModel,
  scope: Scope,
  input: string,
): FloatConstant | Refused {
  const found = floatConstant(scope, input, open.external);
  if (!found.constant) return found;
  const { constant } = found;
  const reason = changeableReason(open, constant) ??
    annotatedReason(open, constant);
  return reason === undefined ? found : { reason };
}

/** The rank of a constant, which is not read; undefined if it is none. */
export function constantRank(scope: Scope, input: string): number | undefined {
  const source = traceConstant(scope, input).constant?.source;
  return source?.kind === "attribute"
    ? source.elements.dims.length
    : source?.tensor.dims.length;
}

/** The integers of a node's input, such as a shape; undefined if not constant. */
export function integerConstant(
  open: OpenModel,
  scope: Scope,
  input: string,
): number[] | undefined {
  const found = tryConstant(scope, input, open.external);
  if (!found.constant || found.constant.casts.length > 0) return undefined;
  if (changeableReason(open, found.constant) !== undefined) return undefined;
  const { data, type } = found.tensor;
  return type === "int64" || type === "int32"
    ? Array.from<number | bigint, number>(data, Number)
    : undefined;
}
