/**
 * Where the channels of a value are behind a node that only moves elements:
 * Identity, Transpose, Reshape, Flatten, Squeeze and Unsqueeze.
 *
 * @module
 */

import { callAttribute, integerConstant, type Refused } from "./constants.ts";
import {
  type Extent,
  isSame,
  known,
  named,
  productOf,
  quotientOf,
  type Shapes,
} from "./shapes.ts";
import type { OpenModel } from "../open.ts";
import { nodeName, type Scope, valueOf } from "../scopes.ts";
import type { NodeView } from "../view.ts";

/** A model, with what it tells of shapes. */
export interface ShapedModel {
  readonly open: OpenModel;
  readonly shapes: Shapes;
}

/** Which axis of a value has the channels. */
export interface Axis {
  readonly axis: number;
  readonly rank: number;
}

/** What a node does to the axes. */
interface Move {
  /** For each axis of the output, that of the input; undefined for a new one. */
  readonly from: readonly (number | undefined)[];
  /** The input's rank. */
  readonly rank: number;
}

const MOVERS: ReadonlySet<string> = new Set([
  "Flatten",
  "Identity",
  "Reshape",
  "Squeeze",
  "Transpose",
  "Unsqueeze",
]);

/** Whether a node only moves the elements of its first input. */
export function isMover({ opType, domain }: NodeView): boolean {
  return domain === "" && MOVERS.has(opType);
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}

function refuse(node: NodeView, why: string): Refused {
  return { reason: `${node.opType} "${nodeName(node)}" ${why}` };
}

/** The integers of an attribute, or since some opset of an input; undefined if left out. */
function integersOf(
  open: OpenModel,
  scope: Scope,
  node: NodeView,
  name: string,
): readonly number[] | Refused | undefined {
  const attribute = node.attributes.get(name);
  if (attribute) {
    return attribute.refAttrName === undefined
      ? attribute.ints.map(Number)
      : refuse(node, `has ${name} that its function's call gives`);
  }
  const input = node.inputs[1] ?? "";
  if (input === "") return undefined;
  return integerConstant(open, scope, input) ??
    refuse(node, `has ${name} that is no constant`);
}

/** The shape that a Reshape makes. */
function reshaped(
  node: NodeView,
  input: readonly Extent[],
  target: readonly number[],
): Extent[] {
  const zeroMeansZero = (node.attributes.get("allowzero")?.i ?? 0n) !== 0n;
  const rest = named(`rest of ${node.outputs[0]}`);
  const output = target.map((extent, axis) => {
    if (extent === -1) return rest;
    return extent === 0 && !zeroMeansZero ? input[axis] ?? rest : known(extent);
  });
  const others = output.filter((extent) => extent !== rest);
  const quotient = quotientOf(productOf(input), productOf(others));
  return output.map((extent) => extent === rest ? quotient ?? rest : extent);
}

/** What Identity, Transpose, Squeeze and Unsqueeze do; one rank is given. */
function moveOf(
  open: OpenModel,
  scope: Scope,
  node: NodeView,
  rank: { readonly input: number } | { readonly output: number },
): Move | Refused {
  const given = "input" in rank ? rank.input : rank.output;
  if (node.opType === "Identity") return { from: range(given), rank: given };
  if (node.opType === "Transpose") {
    const perm = integersOf(open, scope, node, "perm") ??
      range(given).reverse();
    if ("reason" in perm) return perm;
    const isPermutation = perm.length === given &&
      range(given).every((axis) => perm.includes(axis));
    return isPermutation
      ? { from: perm, rank: given }
      : refuse(node, `has the permutation [${perm}] for rank ${given}`);
  }
  const axes = integersOf(open, scope, node, "axes") ??
    refuse(node, "has no axes: what it removes depends on the shape");
  if ("reason" in axes) return axes;
  // The axes count in the longer of both shapes.
  const grows = node.opType === "Unsqueeze";
  const longer = grows === "input" in rank ? given + axes.length : given;
  const special = new Set(axes.map((axis) => axis < 0 ? axis + longer : axis));
  const others = range(longer).filter((axis) => !special.has(axis));
  if (others.length !== longer - axes.length) {
    return refuse(node, `has the axes [${axes}] for rank ${longer}`);
  }
  if (!grows) return { from: others, rank: longer };
  const at = (axis: number): number | undefined =>
    special.has(axis) ? undefined : others.indexOf(axis);
  return { from: range(longer).map(at), rank: others.length };
}

/** The shape that Reshape or Flatten makes of another. */
function outputOf(
  open: OpenModel,
  scope: Scope,
  node: NodeView,
  input: readonly Extent[],
): Extent[] | Refused {
  const given = callAttribute(node);
  if (given !== undefined) {
    return refuse(node, `has ${given} that its function's call gives`);
  }
  if (node.opType === "Flatten") {
    const at = Number(node.attributes.get("axis")?.i ?? 1n);
    const axis = at < 0 ? at + input.length : at;
    return [productOf(input.slice(0, axis)), productOf(input.slice(axis))];
  }
  const target = integersOf(open, scope, node, "shape") ??
    refuse(node, "has no shape");
  return "reason" in target ? target : reshaped(node, input, target);
}

/**
 * The axis of another shape of the same elements that counts the channels in
 * the same order: it has their number, and as many elements before it or
 * behind it.
 */
function sameAxis(
  from: readonly Extent[],
  axis: number,
  to: readonly Extent[],
  channels: number,
): number | undefined {
  const before = productOf(from.slice(0, axis));
  const behind = productOf(from.slice(axis + 1));
  const fits = range(to.length).filter((k) =>
    isSame(to[k]!, known(channels)) && (
      isSame(before, productOf(to.slice(0, k))) ||
      isSame(behind, productOf(to.slice(k + 1)))
    )
  );
  // A single channel may be any axis of extent 1; operators mostly want 1.
  return fits.includes(1) ? 1 : fits[0];
}

function isReshape({ opType }: NodeView): boolean {
  return opType === "Reshape" || opType === "Flatten";
}

/** The shape of a node's input. */
function inputShape(
  { shapes }: ShapedModel,
  scope: Scope,
  node: NodeView,
  rank?: number,
): Extent[] | Refused {
  const value = valueOf(scope, node.inputs[0] ?? "");
  return (value && shapes.shapeOf(value, rank)) ??
    refuse(node, "has an input of unknown shape");
}

function lost(node: NodeView): Refused {
  return refuse(node, "does not keep the channels as an axis of their own");
}

/**
 * Where the channels are behind a node that only moves elements.
 *
 * @param at Where they are before it.
 * @param channels How many they are.
 * @returns Where they are, or why that is nowhere or not known.
 */
export function axisBehind(
  model: ShapedModel,
  scope: Scope,
  node: NodeView,
  { axis, rank }: Axis,
  channels: number,
): Axis | Refused {
  if (!isReshape(node)) {
    const move = moveOf(model.open, scope, node, { input: rank });
    if ("reason" in move) return move;
    const found = move.from.indexOf(axis);
    return found < 0 ? lost(node) : { axis: found, rank: move.from.length };
  }
  const shape = inputShape(model, scope, node, rank);
  if ("reason" in shape) return shape;
  // Declared or not, we know how many channels there are.
  const input = shape.with(axis, known(channels));
  const output = outputOf(model.open, scope, node, input);
  if ("reason" in output) return output;
  const found = sameAxis(input, axis, output, channels);
  return found === undefined
    ? lost(node)
    : { axis: found, rank: output.length };
}

/** Where the channels are before a node, from where they are behind it. */
export function axisBefore(
  model: ShapedModel,
  scope: Scope,
  node: NodeView,
  { axis, rank }: Axis,
  channels: number,
): Axis | Refused {
  if (!isReshape(node)) {
    const move = moveOf(model.open, scope, node, { output: rank });
    if ("reason" in move) return move;
    const found = move.from[axis];
    return found === undefined ? lost(node) : { axis: found, rank: move.rank };
  }
  const input = inputShape(model, scope, node);
  if ("reason" in input) return input;
  const output = outputOf(model.open, scope, node, input);
  if ("reason" in output) return output;
  const found = output.length === rank
    ? sameAxis(output, axis, input, channels)
    : undefined;
  return found === undefined ? lost(node) : { axis: found, rank: input.length };
}
