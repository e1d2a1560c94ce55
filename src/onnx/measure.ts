/**
 * Models that show what goes into their BatchNormalizations.
 *
 * @module
 */

import { type Edits, encodeFields } from "./edit.ts";
import type { FoundNode } from "./find.ts";
import type { OpenModel } from "./open.ts";
import { GraphField, ValueField } from "./schema_fields.ts";
import { type Scope, subgraphsOf, valueOf } from "./scopes.ts";
import type { GraphView, NodeView } from "./view.ts";

/** Where the batch that a node normalizes can be had. */
export interface NodeInput {
  /** The value's name. */
  readonly name: string;
  /** Whether callers feed it; otherwise the model has to be run. */
  readonly isFed: boolean;
}

/**
 * Where a node's batches can be had, or why not.
 *
 * @returns The input; a text if nothing outside of the model can see it.
 */
export function inputOf({ scope, node }: FoundNode): NodeInput | string {
  if (scope.body.kind === "function") return "it is in a function";
  if (scope.parent) return "it is in a subgraph";
  const name = node.inputs[0] ?? "";
  const value = valueOf(scope, name);
  if (!value) return `nothing gives its input "${name}"`;
  if (value.origin.kind === "initializer" || value.origin.kind === "sparse") {
    return `its input "${name}" is a constant`;
  }
  return { name, isFed: value.origin.kind === "input" };
}

/** Lets the model give a value of its main graph, if it does not yet. */
export function showValue(
  edits: Edits,
  { view }: OpenModel,
  name: string,
): void {
  if (view.graph.outputs.some((output) => output.name === name)) return;
  edits.append(
    view.graph.place,
    // Without a type: runtimes infer it, and we do not know it.
    encodeFields((writer) =>
      writer.message(
        GraphField.output,
        (inner) => inner.string(ValueField.name, name),
      )
    ),
  );
}

/** All values that a node reads, those of its subgraphs included. */
function* readBy(node: NodeView): Generator<string> {
  yield* node.inputs;
  for (const { graph } of subgraphsOf(node)) yield* readIn(graph);
}

function* readIn(graph: GraphView): Generator<string> {
  for (const node of graph.nodes) yield* readBy(node);
  for (const { name } of graph.outputs) yield name;
}

/** The nodes of the main graph on which a value depends. */
function ancestorsOf(main: Scope, name: string): Set<NodeView> {
  const ancestors = new Set<NodeView>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const origin = main.values.get(next)?.origin;
    if (origin?.kind !== "node" || ancestors.has(origin.node)) continue;
    ancestors.add(origin.node);
    for (const read of readBy(origin.node)) open.push(read);
  }
  return ancestors;
}

/**
 * Cuts a model down to what one of its values needs, which becomes its only
 * output.
 */
export function cutTo(
  edits: Edits,
  open: OpenModel,
  name: string,
): void {
  const { main } = open.scopes;
  const needed = ancestorsOf(main, name);
  for (const node of main.body.nodes) {
    if (!needed.has(node)) edits.remove(node.place);
  }
  for (const output of open.view.graph.outputs) {
    if (output.name !== name) edits.remove(output.place);
  }
  showValue(edits, open, name);
}
