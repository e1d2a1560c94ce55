/**
 * Inputs of nodes that are constants of floating point numbers, found without
 * reading their elements.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import type { ElementType, Tensor } from "../tensor.ts";
import {
  type Constant,
  dataTypeOf,
  floatConstant,
  traceConstant,
} from "./constants.ts";
import { elementTypeOf } from "./element_types.ts";
import type { ExternalData } from "./external_data.ts";
import { nodeName, type Scope } from "./scopes.ts";
import type { NodeView } from "./view.ts";

/** A node's input that is a constant. */
export interface FloatInput {
  readonly scope: Scope;
  readonly node: NodeView;
  /** Which input. */
  readonly position: number;
  readonly constant: Constant;
  readonly dims: readonly number[];
  /** The element type that the node sees. */
  readonly type: ElementType;
}

function floatTypeOf(code: number): ElementType | undefined {
  const name = elementTypeOf(code)?.name;
  return name === "float32" || name === "float64" || name === "float16" ||
      name === "bfloat16"
    ? name
    : undefined;
}

/** The product of extents. */
export function countOf(dims: readonly number[]): number {
  return dims.reduce((product, extent) => product * extent, 1);
}

/** The extents that are not 1. */
export function longExtents(dims: readonly number[]): number[] {
  return dims.filter((extent) => extent !== 1);
}

/** A node's input, if it is a floating point constant. */
export function floatInput(
  scope: Scope,
  node: NodeView,
  position: number,
): FloatInput | undefined {
  const name = node.inputs[position] ?? "";
  if (name === "") return undefined;
  const { constant } = traceConstant(scope, name);
  if (!constant) return undefined;
  const types = [dataTypeOf(constant), ...constant.casts].map(floatTypeOf);
  const type = types.at(-1);
  if (type === undefined || types.includes(undefined)) return undefined;
  const { source } = constant;
  const { dims } = source.kind === "tensor" ? source.tensor : source.elements;
  return { scope, node, position, constant, dims, type };
}

/**
 * The elements as the node sees them.
 *
 * @throws {FormatError} If they cannot be read: the file does not hold what it
 * says, or they are in another file that is missing.
 */
export function readFloatInput(
  { scope, node, position }: FloatInput,
  external: ExternalData | undefined,
): Tensor {
  const found = floatConstant(scope, node.inputs[position]!, external);
  if (found.constant) return found.tensor;
  throw new FormatError(
    `Cannot read a constant of "${
      scope.path + nodeName(node)
    }": ${found.reason}`,
  );
}
