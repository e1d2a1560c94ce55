/**
 * Writes a planned folding.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { writeNumber } from "../attributes.ts";
import type { Constant } from "../constants.ts";
import type { Edits } from "../edit.ts";
import { ROLES } from "../find.ts";
import type { FloatConstant } from "../constants.ts";
import { annotatedValues } from "./annotations.ts";
import { WEIGHT } from "./linear.ts";
import type { FoldPlan } from "./plan.ts";
import type { Target, Weights } from "./target.ts";
import { unlinkFolds } from "./unlink.ts";
import { Released, removeUnused } from "./unused.ts";
import {
  giveLastInput,
  insertNodeBehind,
  renameOutput,
  rewireInput,
} from "../node_edits.ts";
import type { OpenModel } from "../open.ts";
import { nodeName, type Scope } from "../scopes.ts";
import { BROADCAST_OPSET } from "../versions.ts";
import type { NodeView } from "../view.ts";
import {
  addConstant,
  type ConstantWrite,
  hasBits,
  writeConstants,
} from "../write_constants.ts";

/** What the parts of the writing share. */
interface Writing {
  readonly edits: Edits;
  readonly open: OpenModel;
  /** Constants that keep their shape. */
  readonly writes: ConstantWrite[];
  /** Constants that lost a reader. */
  readonly loose: Constant[];
  readonly released: Released;
  /** The names that nodes' first outputs get. */
  readonly names: Map<NodeView, string>;
}

/** Gives a node's input that is a constant another one. */
function writeInput(
  writing: Writing,
  scope: Scope,
  node: NodeView,
  position: number,
  old: FloatConstant,
  tensor: Tensor,
): void {
  const { edits, open, writes, loose, released } = writing;
  if (hasBits(old.tensor, tensor)) return;
  const { constant } = old;
  const name = open.scopes.names.reserve(
    `${nodeName(node)}/${position === WEIGHT ? "weight" : "bias"}`,
  );
  if (old.tensor.data.length === tensor.data.length) {
    const dims = old.tensor.dims;
    const write = { scope, node, position, constant, name };
    writes.push({ ...write, tensor: { ...tensor, dims } });
    return;
  }
  const added = addConstant(edits, open.view, open.scopes, {
    scope,
    node,
    name,
    tensor,
  });
  rewireInput(edits, node, position, added);
  released.addInput(node, position);
  loose.push(constant);
}

/** Gives a node an input that it does not have. */
function addInput(
  writing: Writing,
  scope: Scope,
  node: NodeView,
  position: number,
  tensor: Tensor,
): void {
  const { edits, open } = writing;
  const name = addConstant(edits, open.view, open.scopes, {
    scope,
    node,
    name: open.scopes.names.reserve(`${nodeName(node)}/bias`),
    tensor,
  });
  // Only the last input can be missing.
  giveLastInput(edits, node, position, name);
}

/** Adds a constant to the output of a node, by an Add right behind it. */
function addBehind(
  { edits, open, names }: Writing,
  scope: Scope,
  node: NodeView,
  tensor: Tensor,
): void {
  const { scopes, view } = open;
  const output = names.get(node) ?? node.outputs[0]!;
  const sum = scopes.names.take(`${nodeName(node)}/product`);
  const bias = addConstant(edits, view, scopes, {
    scope,
    node,
    name: scopes.names.reserve(`${nodeName(node)}/bias`),
    tensor,
  });
  insertNodeBehind(edits, scope, node, {
    name: scopes.names.take(`${nodeName(node)}/Add`),
    opType: "Add",
    input: [sum, bias],
    output: [output],
    attribute: scope.opset < BROADCAST_OPSET
      ? [{ name: "broadcast", i: 1 }]
      : [],
  });
  names.set(node, sum);
}

/** Gives an operator and the Adds behind it their new constants. */
function writeTarget(
  writing: Writing,
  { linear, adders, weights }: Target & { readonly weights: Weights },
): void {
  const { scope, node, weight, bias, biasPosition } = linear;
  writeInput(writing, scope, node, WEIGHT, weight, weights.weight);
  if (bias && weights.bias) {
    writeInput(writing, scope, node, biasPosition!, bias, weights.bias);
  } else if (weights.bias) {
    addInput(writing, scope, node, biasPosition!, weights.bias);
  }
  if (weights.betaInBias) {
    writeNumber(writing.edits, node, { name: "beta", f: 1 });
  }
  adders.forEach(({ node, position, constant }, i) =>
    writeInput(writing, scope, node, position, constant, weights.added[i]!)
  );
  if (weights.newAdd) addBehind(writing, scope, node, weights.newAdd);
}

/**
 * Writes a planned folding.
 *
 * @param edits Takes the changes.
 * @param open The model; the names of its scopes are added to.
 * @param plan What to do.
 * @returns For each operator, the constants that others read too, of which it
 * got copies.
 */
export function writeFolds(
  edits: Edits,
  open: OpenModel,
  plan: FoldPlan,
): Map<NodeView, string[]> {
  const writing: Writing = {
    edits,
    open,
    writes: [],
    loose: [],
    released: new Released(annotatedValues(open)),
    names: unlinkFolds(edits, plan),
  };
  const { writes, loose, released, names } = writing;
  for (const { found: { node, parameters } } of plan.folds.values()) {
    released.addNode(node);
    loose.push(...ROLES.map((role) => parameters[role].constant!));
  }
  for (const target of plan.targets.values()) writeTarget(writing, target);
  writeConstants(edits, open.view, open.scopes, writes);
  // Those that could not be changed in place have taken their reserved name.
  const split = writes.filter(({ name }) => open.scopes.names.has(name));
  for (const { node, position, constant } of split) {
    released.addInput(node, position);
    loose.push(constant);
  }
  for (const [node, name] of names) renameOutput(edits, node, name);
  const gone = removeUnused(edits, open, loose, released);
  const copied = new Map<NodeView, string[]>();
  for (const { node, constant } of split) {
    if (gone.has(constant.origin)) continue;
    copied.set(node, [...copied.get(node) ?? [], constant.words]);
  }
  return copied;
}
