/**
 * The way from a BatchNormalization to the operator that may take it in: up to
 * the one whose output it normalizes, or down to the one that reads it.
 *
 * Every value on the way has one reader, so that no one else sees the change.
 *
 * @module
 */

import { annotatedValues } from "./annotations.ts";
import {
  type Axis,
  axisBefore,
  axisBehind,
  isMover,
  type ShapedModel,
} from "./axes.ts";
import {
  callAttribute,
  constantRank,
  fixedConstant,
  type Refused,
} from "./constants.ts";
import { DATA, isLinear, type Linear } from "./linear.ts";
import type { Adder } from "./target.ts";
import type { FoundNode } from "../find.ts";
import { nodeName, type NodeUse, type Scope, type Value } from "../scopes.ts";
import { BROADCAST_OPSET } from "../versions.ts";
import type { NodeView } from "../view.ts";

/** What a search knows besides the model. */
export interface Search extends ShapedModel {
  /** BatchNormalizations that are gone already. */
  readonly isFolded: (node: NodeView) => boolean;
  /** The operator of a node, or why it cannot change. */
  readonly linearOf: (scope: Scope, node: NodeView) => Linear | Refused;
}

/** Why there is no way, and which node could open one by going. */
export interface Blocked extends Refused {
  readonly until?: NodeView;
}

/** A way to an operator. */
export interface Path {
  readonly linear: Linear;
  /** The nodes on the way, in the order of the data. */
  readonly through: readonly NodeView[];
  /** The Adds of constants among them. */
  readonly adders: readonly Adder[];
}

/**
 * The most nodes between an operator and a BatchNormalization, those that went
 * included. No model has so many; each that goes lists them.
 */
const LONGEST_PATH = 1000;

function tooFar(): Refused {
  return {
    reason: `an operator would be more than ${LONGEST_PATH} nodes away`,
  };
}

/** The axis of the channels for BatchNormalization. */
const NORMALIZED = 1;

function called(scope: Scope, node: NodeView): string {
  return `${node.opType} "${scope.path + nodeName(node)}"`;
}

/** Looks for the one node that uses a value. */
function findOnlyUse({ name, uses, scope }: Value): NodeUse | Refused {
  const output = uses.find(({ kind }) => kind === "output");
  if (output) {
    const what = output.scope.body.kind === "graph" ? "graph" : "function";
    const words = `"${name}" is an output of its ${what}`;
    return { reason: uses.length > 1 ? `branching: ${words}` : words };
  }
  const [use] = uses;
  if (uses.length > 1 || use?.kind !== "node") {
    return {
      reason: use
        ? `branching: ${uses.length} inputs of nodes use "${name}"`
        : `nothing uses "${name}"`,
    };
  }
  return use.scope === scope
    ? use
    : { reason: `"${name}" is used in the subgraph "${use.scope.path}"` };
}

// Many nodes may ask for a value that they all use.
const onlyUses = new WeakMap<Value, NodeUse | Refused>();

/** The one node that uses a value, or why there is none. */
function onlyUse({ open }: Search, value: Value): NodeUse | Refused {
  if (annotatedValues(open).has(value)) {
    return { reason: `a quantization annotation names "${value.name}"` };
  }
  const use = onlyUses.get(value) ?? findOnlyUse(value);
  onlyUses.set(value, use);
  return use;
}

/** The axis of an operator's channels, from the end if negative, in its values. */
function axisIn(
  { shapes }: Search,
  { scope, node, rank: known }: Linear,
  at: number,
): Axis | Refused {
  // The input and output of a MatMul with a constant matrix have one rank.
  const rank = known ?? shapes.rankOf(scope, node.outputs[0]!);
  if (rank === undefined || rank + at < 0) {
    return { reason: `the rank of ${called(scope, node)} is not known` };
  }
  return { axis: at < 0 ? rank + at : at, rank };
}

/** An Add of a constant to channels, or why it cannot take a change. */
function adderOf(
  { open }: Search,
  scope: Scope,
  node: NodeView,
  position: number,
  { axis, rank }: Axis,
): Adder | Refused {
  const constant = fixedConstant(open, scope, node.inputs[position] ?? "");
  if ("reason" in constant) {
    return {
      reason: `${called(scope, node)} adds no constant: ${constant.reason}`,
    };
  }
  const { dims } = constant.tensor;
  if (dims.length > rank) {
    return { reason: `${called(scope, node)} makes its input's rank larger` };
  }
  if (scope.opset < BROADCAST_OPSET) {
    // Attributes say where the constant's axes are: the last ones, or from
    // `axis` on.
    const call = callAttribute(node);
    if (call !== undefined) {
      return {
        reason: `${
          called(scope, node)
        } has ${call} that its function's call gives`,
      };
    }
    const given = node.attributes.get("axis")?.i;
    const first = given === undefined ? rank - dims.length : Number(given);
    if (position !== 1 || dims.length !== 1 || first !== axis) {
      return { reason: `${called(scope, node)} adds to other axes` };
    }
    return { node, position, constant, behind: 0 };
  }
  return { node, position, constant, behind: rank - 1 - axis };
}

/** What stands between an operator and a BatchNormalization, operator first. */
interface Way {
  readonly linear: Linear;
  readonly nodes: readonly {
    readonly node: NodeView;
    /** The data input. */
    readonly position: number;
  }[];
}

/** The operand of an Add that is computed from something: the other is constant. */
function dataPosition(scope: Scope, { inputs }: NodeView): number {
  return constantRank(scope, inputs[0] ?? "") === undefined ? 0 : 1;
}

function wayUp(
  search: Search,
  { scope, node: start }: FoundNode,
): Way | Blocked {
  const nodes: { node: NodeView; position: number }[] = [];
  const seen = new Set<NodeView>();
  let name = start.inputs[DATA] ?? "";
  for (;;) {
    const value = scope.values.get(name);
    if (!value) return { reason: `"${name}" comes from outside of its graph` };
    if (value.origin.kind !== "node") {
      const what = value.origin.kind === "input" ? "an input" : "a constant";
      return { reason: `"${name}" is ${what} of its graph` };
    }
    const { node, position } = value.origin;
    const takes = search.isFolded(node) || isMover(node) || isLinear(node) ||
      (node.opType === "Add" && node.domain === "");
    if (!takes || position !== 0 || seen.has(node)) {
      return {
        reason: `its input comes from ${called(scope, node)}`,
        until: node,
      };
    }
    const use = onlyUse(search, value);
    if ("reason" in use) return use;
    seen.add(node);
    if (isLinear(node)) {
      const linear = search.linearOf(scope, node);
      return "reason" in linear ? linear : { linear, nodes: nodes.reverse() };
    }
    const data = node.opType === "Add" ? dataPosition(scope, node) : DATA;
    if (nodes.length === LONGEST_PATH) return tooFar();
    nodes.push({ node, position: data });
    name = node.inputs[data] ?? "";
  }
}

function wayDown(
  search: Search,
  { scope, node: start }: FoundNode,
): Way | Blocked {
  const nodes: { node: NodeView; position: number }[] = [];
  const seen = new Set<NodeView>([start]);
  for (let from = start;;) {
    const value = scope.values.get(from.outputs[0] ?? "");
    if (!value) return { reason: "no one uses its output" };
    const use = onlyUse(search, value);
    if ("reason" in use) return use;
    const { node, position } = use;
    const takes = search.isFolded(node) || isMover(node) || isLinear(node);
    if (!takes || seen.has(node)) {
      return {
        reason: `its output goes to ${called(scope, node)}`,
        until: node,
      };
    }
    if (position !== DATA) {
      return {
        reason: `its output is input ${position} of ${called(scope, node)}`,
      };
    }
    seen.add(node);
    if (isLinear(node)) {
      const linear = search.linearOf(scope, node);
      return "reason" in linear ? linear : { linear, nodes: nodes.reverse() };
    }
    if (nodes.length === LONGEST_PATH) return tooFar();
    nodes.push({ node, position });
    from = node;
  }
}

function wrongAxis({ scope, node }: Linear, { axis }: Axis): Refused {
  return {
    reason: `it normalizes axis 1, where the channels of ${
      called(scope, node)
    } are axis ${axis}`,
  };
}

/** The way up to an operator that may take a BatchNormalization behind it. */
export function pathUp(search: Search, found: FoundNode): Path | Blocked {
  const way = wayUp(search, found);
  if ("reason" in way) return way;
  const { linear, nodes } = way;
  const { scope } = found;
  let at = axisIn(search, linear, linear.axisOut);
  if ("reason" in at) return at;
  const through: NodeView[] = [];
  const adders: Adder[] = [];
  for (const { node, position } of nodes) {
    if (search.isFolded(node)) continue;
    through.push(node);
    if (node.opType === "Add") {
      const adder = adderOf(search, scope, node, 1 - position, at);
      if ("reason" in adder) return adder;
      adders.push(adder);
      continue;
    }
    at = axisBehind(search, scope, node, at, linear.channelsOut);
    if ("reason" in at) return at;
  }
  return at.axis === NORMALIZED
    ? { linear, through, adders }
    : wrongAxis(linear, at);
}

/** The way down to an operator that may take a BatchNormalization before it. */
export function pathDown(search: Search, found: FoundNode): Path | Blocked {
  const way = wayDown(search, found);
  if ("reason" in way) return way;
  const { linear, nodes } = way;
  const { scope } = found;
  let at = axisIn(search, linear, linear.axisIn);
  if ("reason" in at) return at;
  const through: NodeView[] = [];
  for (const { node } of nodes) {
    if (search.isFolded(node)) continue;
    at = axisBefore(search, scope, node, at, linear.channelsIn);
    if ("reason" in at) return at;
    through.unshift(node);
  }
  return at.axis === NORMALIZED
    ? { linear, through, adders: [] }
    : wrongAxis(linear, at);
}
