/**
 * The constants that folding reads: floating point, and the same in every run.
 *
 * @module
 */

import { castTensor, type ElementType, type Tensor } from "../tensor.ts";
import { type Constant, traceConstant, tryConstant } from "./constants.ts";
import { elementTypeOf, type OnnxType } from "./element_types.ts";
import type { OpenModel } from "./open.ts";
import type { Scope } from "./scopes.ts";
import { CONSTANT_IR_VERSION } from "./versions.ts";

/** Why something cannot be folded. */
export interface Refused {
  readonly reason: string;
}

/** A constant as a node sees it: cast as the model casts it. */
export interface FloatConstant {
  readonly constant: Constant;
  readonly tensor: Tensor;
}

function floatType(type: OnnxType | undefined): ElementType | undefined {
  return type === "float32" || type === "float64" || type === "float16" ||
      type === "bfloat16"
    ? type
    : undefined;
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

/** The floating point constant that a node's input is, or why it is none. */
export function floatConstant(
  open: OpenModel,
  scope: Scope,
  input: string,
): FloatConstant | Refused {
  const found = tryConstant(scope, input, open.external);
  if (!found.constant) return { reason: found.reason };
  const { constant, tensor: { type: code, dims, data } } = found;
  const reason = changeableReason(open, constant);
  if (reason !== undefined) return { reason };
  const type = floatType(code);
  let tensor = type && { type, dims, data: data as Tensor["data"] };
  for (const cast of constant.casts) {
    const to = floatType(elementTypeOf(cast)?.name);
    tensor = tensor && to && castTensor(tensor, to);
  }
  return tensor
    ? { constant, tensor }
    : { reason: `${constant.words} has no floating point numbers` };
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
