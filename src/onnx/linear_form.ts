/**
 * Mul and Add with constants: what converters leave of a BatchNormalization
 * that is not ONNX' operator, and the Add that they leave out if it is of
 * zeros.
 *
 * @module
 */

import type { Edits } from "./edit.ts";
import {
  type FloatInput,
  floatInput,
  longExtents,
} from "./linear_form_input.ts";
import type { AttributeProto } from "./model.ts";
import { insertNodeBehind, renameOutput } from "./node_edits.ts";
import type { OpenModel } from "./open.ts";
import { nodeName, type Scope, valueOf } from "./scopes.ts";
import type { Tensor } from "../tensor.ts";
import type { NodeView } from "./view.ts";
import { addConstant } from "./write_constants.ts";

/** A Mul with a constant, and the Add of a constant right behind it. */
export interface LinearForm {
  readonly scope: Scope;
  readonly factor: FloatInput;
  /** Undefined without an Add. */
  readonly summand: FloatInput | undefined;
}

/** The one constant among the two inputs of a node. */
function onlyConstant(scope: Scope, node: NodeView): FloatInput | undefined {
  const [first, second, ...others] = [0, 1].flatMap((position) =>
    floatInput(scope, node, position) ?? []
  );
  // Of constants alone, the result is one too, and no normalization.
  return second || others.length > 0 || node.inputs.length !== 2
    ? undefined
    : first;
}

/** Whether two constants have their values along the same axes. */
function areAlike(a: FloatInput, b: FloatInput): boolean {
  return longExtents(a.dims).join() === longExtents(b.dims).join();
}

/** The only node that uses a node's first output; undefined if others do too. */
export function onlyUser(
  scope: Scope,
  node: NodeView,
): NodeView | undefined {
  const value = valueOf(scope, node.outputs[0] ?? "");
  const [use, ...others] = value?.uses ?? [];
  return use?.kind === "node" && others.length === 0 && use.scope === scope
    ? use.node
    : undefined;
}

/** The scope in a node's name; undefined if it has none. */
function scopeIn({ name }: NodeView): string | undefined {
  const at = name.lastIndexOf("/");
  return at < 0 ? undefined : name.slice(0, at + 1);
}

/** Whether two nodes can be of one layer: names with scopes tell if not. */
function areOneLayers(a: NodeView, b: NodeView): boolean {
  const [first, second] = [scopeIn(a), scopeIn(b)];
  return first === undefined || second === undefined ||
    first.startsWith(second) || second.startsWith(first);
}

/** The constant that is added right behind a node, and nowhere else, for the same layer. */
export function summandBehind(
  scope: Scope,
  node: NodeView,
): FloatInput | undefined {
  const user = onlyUser(scope, node);
  return user?.opType === "Add" && user.domain === "" &&
      areOneLayers(node, user)
    ? onlyConstant(scope, user)
    : undefined;
}

/**
 * Finds every Mul with a constant in a model. Which of them is a
 * BatchNormalization, the graph alone does not tell.
 *
 * @returns Them in the file's order.
 */
export function findLinearForms({ scopes }: OpenModel): LinearForm[] {
  const found: LinearForm[] = [];
  for (const scope of scopes.all) {
    for (const node of scope.body.nodes) {
      if (node.opType !== "Mul" || node.domain !== "") continue;
      const factor = onlyConstant(scope, node);
      if (!factor) continue;
      const summand = summandBehind(scope, node);
      found.push({
        scope,
        factor,
        summand: summand && areAlike(factor, summand) ? summand : undefined,
      });
    }
  }
  return found;
}

/** Before opset 7, operators broadcast by attributes only. */
function broadcastOf({ attributes }: NodeView): AttributeProto[] {
  return ["broadcast", "axis"].flatMap((name) => {
    const i = attributes.get(name)?.i;
    return i === undefined ? [] : [{ name, i: Number(i) }];
  });
}

/**
 * Adds a constant to the first output of a node, by an Add right behind it
 * that has the output's name from then on.
 *
 * @param edits Takes the change.
 * @param open The model; names of its scopes are added to.
 * @param scope Where the node is.
 * @param node The node.
 * @param tensor The constant.
 */
export function insertAdd(
  edits: Edits,
  { scopes, view }: OpenModel,
  scope: Scope,
  node: NodeView,
  tensor: Tensor,
): void {
  const name = nodeName(node);
  const sum = scopes.names.take(`${name}/product`);
  const constant = addConstant(edits, view, scopes, {
    scope,
    node,
    name: `${name}/summand`,
    tensor,
  });
  insertNodeBehind(edits, scope, node, {
    name: scopes.names.take(`${name}/Add`),
    opType: "Add",
    input: [sum, constant],
    output: [node.outputs[0]!],
    attribute: broadcastOf(node),
  });
  renameOutput(edits, node, sum);
}
