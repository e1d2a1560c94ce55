/**
 * Takes folded BatchNormalizations out of their graphs.
 *
 * @module
 */

import { type Edits, encodeFields } from "../edit.ts";
import { DATA } from "./linear.ts";
import type { FoldPlan, PlannedFold } from "./plan.ts";
import { rewireInput } from "../node_edits.ts";
import { ValueField } from "../schema_fields.ts";
import type { Scope, Value } from "../scopes.ts";
import type { NodeView, ValueView } from "../view.ts";

/** What the model tells of a value between nodes. */
export function infoOf({ scope, name }: Value): ValueView | undefined {
  return scope.body.kind === "graph"
    ? scope.body.valueInfo.get(name)
    : undefined;
}

function outputOf(scope: Scope, node: NodeView): Value {
  return scope.values.get(node.outputs[DATA]!)!;
}

/**
 * What gave the first input now gives the last output, whose name may be the
 * graph's; the names between are gone.
 */
function closeUp(
  edits: Edits,
  { folds }: FoldPlan,
  { found: { node, scope } }: PlannedFold,
  names: Map<NodeView, string>,
): void {
  const input = scope.values.get(node.inputs[DATA]!)!;
  // Only the first of a run; a path up ends in a node.
  if (input.origin.kind !== "node" || folds.has(input.origin.node)) return;
  const run = [input];
  let last = outputOf(scope, node);
  for (;;) {
    const [use] = last.uses;
    if (use?.kind !== "node") break;
    if (folds.get(use.node)?.direction !== "up") break;
    run.push(last);
    last = outputOf(scope, use.node);
  }
  names.set(input.origin.node, last.name);
  // All have the same type and shape, which may be told of one only.
  const isTold = infoOf(last) !== undefined ||
    last.uses.some(({ kind }) => kind === "output");
  const infos = run.flatMap((value) => infoOf(value) ?? []);
  infos.forEach(({ place }, i) => {
    if (i > 0 || isTold) edits.remove(place);
    else {
      const number = ValueField.name;
      const name = encodeFields((w) => w.string(number, last.name));
      edits.set(place, number, name);
    }
  });
}

/** What used the last output now uses the first input. */
function closeDown(
  edits: Edits,
  { folds }: FoldPlan,
  { found: { node, scope } }: PlannedFold,
): void {
  const output = outputOf(scope, node);
  const info = infoOf(output);
  if (info) edits.remove(info.place);
  const [use] = output.uses;
  // Only the last of a run.
  if (use?.kind !== "node" || folds.has(use.node)) return;
  let first = node;
  for (;;) {
    const origin = scope.values.get(first.inputs[DATA]!)?.origin;
    if (origin?.kind !== "node") break;
    if (folds.get(origin.node)?.direction !== "down") break;
    first = origin.node;
  }
  rewireInput(edits, use.node, use.position, first.inputs[DATA]!);
}

/**
 * Takes the nodes out.
 *
 * @returns The nodes whose first output gets another name, with that name.
 */
export function unlinkFolds(
  edits: Edits,
  plan: FoldPlan,
): Map<NodeView, string> {
  const names = new Map<NodeView, string>();
  for (const fold of plan.folds.values()) {
    edits.remove(fold.found.node.place);
    if (fold.direction === "up") closeUp(edits, plan, fold, names);
    else closeDown(edits, plan, fold);
  }
  return names;
}
