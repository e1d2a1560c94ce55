/**
 * Convolutions and matrix products with constant weights, into which a
 * BatchNormalization may have been folded.
 *
 * @see https://onnx.ai/onnx/operators/
 *
 * @module
 */

import type { Tensor } from "../tensor.ts";
import type { Edits } from "./edit.ts";
import { insertAdd, summandBehind } from "./linear_form.ts";
import {
  countOf,
  type FloatInput,
  floatInput,
  longExtents,
} from "./linear_form_input.ts";
import { giveLastInput } from "./node_edits.ts";
import type { OpenModel } from "./open.ts";
import { nodeName, type Scope, valueOf } from "./scopes.ts";
import type { NodeView } from "./view.ts";
import { addConstant } from "./write_constants.ts";

const DATA = 0;
const WEIGHT = 1;
const BIAS = 2;

/** Nodes that leave the values of each channel as they are. */
const PASSING: ReadonlySet<string> = new Set([
  "Identity",
  "Transpose",
  "Squeeze",
  "Unsqueeze",
  "Reshape",
]);

/** Longer chains of those are not looked through. */
const MAX_PASSING = 8;

/** The operators of {@linkcode FoldedForm}. */
export type FoldedOperator = "Conv" | "ConvTranspose" | "Gemm" | "MatMul";

/** An operator with a constant weight, and its bias. */
export interface FoldedForm {
  readonly scope: Scope;
  readonly node: NodeView;
  readonly operator: FoldedOperator;
  readonly weight: FloatInput;
  /** The bias; of MatMul, what the Add behind it adds. Undefined without. */
  readonly bias: FloatInput | undefined;
  /** How many of its outputs are channels of their own inputs. */
  readonly groups: number;
  /** Whether the weight is that of Gemm with `transB`: outputs first. */
  readonly isTransposed: boolean;
  readonly channels: number;
}

function isFoldedOperator(name: string): name is FoldedOperator {
  return name === "Conv" || name === "ConvTranspose" || name === "Gemm" ||
    name === "MatMul";
}

function integer(
  { attributes }: NodeView,
  name: string,
  other: number,
): number {
  return Number(attributes.get(name)?.i ?? other);
}

/** The number of output channels, of a weight that its operator can have. */
function channelsOf(
  operator: FoldedOperator,
  [first, second, ...rest]: readonly number[],
  groups: number,
  isTransposed: boolean,
): number | undefined {
  if (first === undefined || second === undefined) return undefined;
  switch (operator) {
    case "Conv":
      return rest.length > 0 ? first : undefined;
    case "ConvTranspose":
      return rest.length > 0 ? second * groups : undefined;
    case "Gemm":
    case "MatMul":
      if (rest.length > 0) return undefined;
      return isTransposed ? first : second;
  }
}

/** Gemm multiplies by two numbers as well, unless they are 1. */
function isPlain({ attributes }: NodeView): boolean {
  return ["alpha", "beta"].every((name) =>
    (attributes.get(name)?.f ?? 1) === 1
  );
}

function formOf(scope: Scope, node: NodeView): FoldedForm | undefined {
  const { opType, domain, inputs } = node;
  if (domain !== "" || !isFoldedOperator(opType)) return undefined;
  const weight = floatInput(scope, node, WEIGHT);
  if (!weight || !isPlain(node)) return undefined;
  const groups = integer(node, "group", 1);
  const isTransposed = opType === "Gemm" && integer(node, "transB", 0) !== 0;
  const channels = channelsOf(opType, weight.dims, groups, isTransposed);
  if (channels === undefined) return undefined;
  const hasBias = opType !== "MatMul" && (inputs[BIAS] ?? "") !== "";
  const bias = hasBias
    ? floatInput(scope, node, BIAS)
    : opType === "MatMul"
    ? summandBehind(scope, node)
    : undefined;
  const isPerChannel = bias && countOf(bias.dims) === channels &&
    longExtents(bias.dims).length <= 1;
  // A bias that is no constant cannot have taken one in.
  if (hasBias && !isPerChannel) return undefined;
  return {
    scope,
    node,
    operator: opType,
    weight,
    bias: isPerChannel ? bias : undefined,
    groups,
    isTransposed,
    channels,
  };
}

/**
 * Finds every operator with a constant weight.
 *
 * @returns Them in the file's order.
 */
export function findFoldedForms({ scopes }: OpenModel): FoldedForm[] {
  return scopes.all.flatMap((scope) =>
    scope.body.nodes.flatMap((node) => formOf(scope, node) ?? [])
  );
}

/** The channel of the output that an element of the weight adds to. */
export function outputChannel(
  { operator, weight: { dims }, isTransposed, groups }: FoldedForm,
): (index: number) => number {
  const [first, second, ...kernel] = dims as [number, number, ...number[]];
  const size = countOf(kernel);
  switch (operator) {
    case "Conv":
      return (index) => Math.floor(index / (second * size));
    case "ConvTranspose": {
      const inputsPerGroup = first / groups;
      return (index) =>
        Math.floor(index / (second * size * inputsPerGroup)) * second +
        Math.floor(index / size) % second;
    }
    case "Gemm":
    case "MatMul":
      return isTransposed
        ? (index) => Math.floor(index / second)
        : (index) => index % second;
  }
}

/**
 * The nodes that get a node's output, through those that only rearrange it
 * and through Adds of constants.
 */
export function* nodesBehind(
  scope: Scope,
  node: NodeView,
  depth = 0,
): Generator<NodeView> {
  for (const output of node.outputs) {
    const uses = output === "" ? [] : valueOf(scope, output)?.uses ?? [];
    for (const use of uses) {
      if (use.kind !== "node" || use.scope !== scope) continue;
      yield use.node;
      if (depth < MAX_PASSING && isPassing(scope, use.node)) {
        yield* nodesBehind(scope, use.node, depth + 1);
      }
    }
  }
}

function isPassing(scope: Scope, node: NodeView): boolean {
  if (node.domain !== "") return false;
  return PASSING.has(node.opType) ||
    node.opType === "Add" && [0, 1].some((i) => floatInput(scope, node, i));
}

/** The node that gives a node's data, through those that only rearrange it. */
export function nodeBefore(
  scope: Scope,
  node: NodeView,
): NodeView | undefined {
  let at: NodeView = node;
  for (let depth = 0; depth <= MAX_PASSING; depth++) {
    const data = at.inputs.findIndex((name, position) =>
      name !== "" && !floatInput(scope, at, position)
    );
    const origin = valueOf(scope, at.inputs[Math.max(data, DATA)] ?? "")
      ?.origin;
    if (origin?.kind !== "node") return undefined;
    if (!isPassing(scope, origin.node)) return origin.node;
    at = origin.node;
  }
  return undefined;
}

/**
 * Gives an operator a bias that it does not have: as its input, or for MatMul
 * by an Add behind it.
 */
export function insertBias(
  edits: Edits,
  open: OpenModel,
  { scope, node, operator }: FoldedForm,
  tensor: Tensor,
): void {
  if (operator === "MatMul") {
    insertAdd(edits, open, scope, node, tensor);
    return;
  }
  const name = addConstant(edits, open.view, open.scopes, {
    scope,
    node,
    name: `${nodeName(node)}/bias`,
    tensor,
  });
  giveLastInput(edits, node, BIAS, name);
}
