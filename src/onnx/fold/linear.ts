/**
 * The operators that take a BatchNormalization into their weights: Conv,
 * ConvTranspose, Gemm and MatMul, each a sum over inputs of
 * `weight * input`, plus a bias.
 *
 * @see https://onnx.ai/onnx/operators/
 *
 * @module
 */

import type { FloatConstant } from "../constants.ts";
import { callAttribute, fixedConstant, type Refused } from "./constants.ts";
import type { OpenModel } from "../open.ts";
import { nodeName, type Scope } from "../scopes.ts";
import type { NodeView } from "../view.ts";

/** The input that has the data. */
export const DATA = 0;
/** The input that has the weight. */
export const WEIGHT = 1;

/** A node that is `y[o] = alpha * sum(weight[i, o] * x[i]) + beta * bias[o]`. */
export interface Linear {
  readonly scope: Scope;
  readonly node: NodeView;
  readonly weight: FloatConstant;
  /** The input for the bias; undefined for MatMul, which has none. */
  readonly biasPosition: number | undefined;
  readonly bias: FloatConstant | undefined;
  readonly channelsIn: number;
  readonly channelsOut: number;
  /** The weight as a matrix of runs of `inner` elements for the same channels. */
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  /** The channel of the output that a run goes into. */
  readonly outOf: (row: number, column: number) => number;
  /** The channel of the input that a run is multiplied by. */
  readonly inOf: (row: number, column: number) => number;
  /** The axis of the channels, from the end if negative. */
  readonly axisIn: number;
  readonly axisOut: number;
  /** The rank of input and output; undefined if the weight does not tell. */
  readonly rank: number | undefined;
  readonly alpha: number;
  readonly beta: number;
  /** Why a constant cannot be added to the input; undefined if it can. */
  readonly noShift: string | undefined;
}

const OPERATORS: ReadonlySet<string> = new Set([
  "Conv",
  "ConvTranspose",
  "Gemm",
  "MatMul",
]);

/** Whether a node is one of these operators. */
export function isLinear({ opType, domain }: NodeView): boolean {
  return domain === "" && OPERATORS.has(opType);
}

/** The parts of {@linkcode Linear} that depend on the operator. */
type Form = Omit<
  Linear,
  "scope" | "node" | "weight" | "biasPosition" | "bias"
>;

const PLAIN = { alpha: 1, beta: 1, noShift: undefined } as const;

function count(dims: readonly number[]): number {
  return dims.reduce((product, extent) => product * extent, 1);
}

function integer(node: NodeView, name: string, byDefault: number): number {
  return Number(node.attributes.get(name)?.i ?? byDefault);
}

function text(node: NodeView, name: string): string {
  const bytes = node.attributes.get(name)?.s;
  return bytes ? new TextDecoder().decode(bytes) : "";
}

/** Whether a Conv reads beyond its input, where zeros are. */
function isPadded(node: NodeView, kernel: readonly number[]): boolean {
  const auto = text(node, "auto_pad");
  // A kernel of one element never reaches beyond, whatever the stride.
  if (auto.startsWith("SAME")) return kernel.some((extent) => extent !== 1);
  const pads = node.attributes.get("pads")?.ints ?? [];
  return auto !== "VALID" && pads.some((pad) => pad !== 0n);
}

function isDivisible(channels: number, groups: number): boolean {
  return groups > 0 && channels % groups === 0;
}

function convForm(node: NodeView, dims: readonly number[]): Form | undefined {
  const [channelsOut, perGroup, ...kernel] = dims;
  const groups = integer(node, "group", 1);
  if (kernel.length === 0 || !isDivisible(channelsOut!, groups)) {
    return undefined;
  }
  const outsPerGroup = channelsOut! / groups;
  return {
    ...PLAIN,
    channelsIn: perGroup! * groups,
    channelsOut: channelsOut!,
    rows: channelsOut!,
    columns: perGroup!,
    inner: count(kernel),
    outOf: (row) => row,
    inOf: (row, column) => Math.floor(row / outsPerGroup) * perGroup! + column,
    axisIn: 1,
    axisOut: 1,
    rank: dims.length,
    noShift: isPadded(node, kernel)
      ? "pads with zeros, which the BatchNormalization before it would not shift"
      : undefined,
  };
}

function convTransposeForm(
  node: NodeView,
  dims: readonly number[],
): Form | undefined {
  const [channelsIn, perGroup, ...kernel] = dims;
  const groups = integer(node, "group", 1);
  if (kernel.length === 0 || !isDivisible(channelsIn!, groups)) {
    return undefined;
  }
  const insPerGroup = channelsIn! / groups;
  return {
    ...PLAIN,
    channelsIn: channelsIn!,
    channelsOut: perGroup! * groups,
    rows: channelsIn!,
    columns: perGroup!,
    inner: count(kernel),
    outOf: (row, column) => Math.floor(row / insPerGroup) * perGroup! + column,
    inOf: (row) => row,
    axisIn: 1,
    axisOut: 1,
    rank: dims.length,
    noShift: "adds up a different number of inputs at its borders",
  };
}

function gemmForm(node: NodeView, dims: readonly number[]): Form | undefined {
  if (dims.length !== 2) return undefined;
  const [rows, columns] = dims as [number, number];
  const transposed = integer(node, "transB", 0) !== 0;
  const rowOf = (row: number): number => row;
  const columnOf = (_: number, column: number): number => column;
  return {
    channelsIn: transposed ? columns : rows,
    channelsOut: transposed ? rows : columns,
    rows,
    columns,
    inner: 1,
    outOf: transposed ? rowOf : columnOf,
    inOf: transposed ? columnOf : rowOf,
    axisIn: integer(node, "transA", 0) === 0 ? 1 : 0,
    axisOut: 1,
    rank: 2,
    alpha: node.attributes.get("alpha")?.f ?? 1,
    beta: node.attributes.get("beta")?.f ?? 1,
    noShift: undefined,
  };
}

function matMulForm(dims: readonly number[]): Form | undefined {
  // A vector has no axis of outputs; a batch of matrices no one bias.
  if (dims.length < 2) return undefined;
  const [channelsIn, channelsOut] = dims.slice(-2) as [number, number];
  return {
    ...PLAIN,
    channelsIn,
    channelsOut,
    rows: count(dims.slice(0, -1)),
    columns: channelsOut,
    inner: 1,
    outOf: (_, column) => column,
    inOf: (row) => row % channelsIn,
    axisIn: -1,
    axisOut: -1,
    rank: undefined,
    noShift: dims.length > 2
      ? "multiplies by a batch of matrices, which would need a bias each"
      : undefined,
  };
}

function formOf(node: NodeView, dims: readonly number[]): Form | undefined {
  switch (node.opType) {
    case "Conv":
      return convForm(node, dims);
    case "ConvTranspose":
      return convTransposeForm(node, dims);
    case "Gemm":
      return gemmForm(node, dims);
    default:
      return matMulForm(dims);
  }
}

/** Reads a node of these operators; or says why its weights cannot change. */
export function linearOf(
  open: OpenModel,
  scope: Scope,
  node: NodeView,
): Linear | Refused {
  const { opType, inputs } = node;
  const refuse = (why: string): Refused => ({
    reason: `${opType} "${scope.path + nodeName(node)}" ${why}`,
  });
  const given = callAttribute(node);
  if (given !== undefined) {
    return refuse(`has the attribute ${given} from its function's call`);
  }
  const weight = fixedConstant(open, scope, inputs[WEIGHT] ?? "");
  if ("reason" in weight) {
    return refuse(`has no constant weight: ${weight.reason}`);
  }
  // Without elements, extents may be anything.
  const isEmpty = weight.tensor.data.length === 0;
  const form = isEmpty ? undefined : formOf(node, weight.tensor.dims);
  if (!form) return refuse(`has a weight of shape [${weight.tensor.dims}]`);
  const biasPosition = opType === "MatMul" ? undefined : 2;
  const biasName = biasPosition && inputs[biasPosition];
  const bias = biasName ? fixedConstant(open, scope, biasName) : undefined;
  if (bias && "reason" in bias) {
    return refuse(`has no constant bias: ${bias.reason}`);
  }
  return { ...form, scope, node, weight, biasPosition, bias };
}
