/**
 * Changes of which values nodes take and give, and new nodes among them.
 *
 * @module
 */

import { type Edits, encodeFields } from "./edit.ts";
import { type NodeProto, writeNode } from "./model.ts";
import { FunctionField, GraphField, NodeField } from "./schema_fields.ts";
import type { Scope } from "./scopes.ts";
import type { NodeView } from "./view.ts";
import type { WireField } from "./wire_reader.ts";

/** A node as a field of the graph or function that it is put in. */
function nodeField({ body }: Scope, node: NodeProto): Uint8Array {
  const { node: number } = body.kind === "graph" ? GraphField : FunctionField;
  return encodeFields((writer) =>
    writer.message(number, (inner) => writeNode(inner, node))
  );
}

/**
 * Puts a node right before another, which may use its outputs: nodes stand in
 * topological order.
 */
export function insertNodeBefore(
  edits: Edits,
  scope: Scope,
  { place }: NodeView,
  added: NodeProto,
): void {
  edits.insertBefore(place, nodeField(scope, added));
}

/** Puts a node right behind another, of which it may use the outputs. */
export function insertNodeBehind(
  edits: Edits,
  scope: Scope,
  { place }: NodeView,
  added: NodeProto,
): void {
  edits.replace(place.parent!, place.to, place.to, nodeField(scope, added));
}

function rename(
  edits: Edits,
  { place }: NodeView,
  { number, start, to }: WireField,
  name: string,
): void {
  const content = encodeFields((writer) => writer.string(number, name));
  edits.replace(place, start, to, content);
}

/** Lets a node take another value. */
export function rewireInput(
  edits: Edits,
  node: NodeView,
  position: number,
  name: string,
): void {
  rename(edits, node, node.inputFields[position]!, name);
}

/**
 * Gives a node its last input: the next one behind those that it has, or one
 * that is there, be it left out.
 */
export function giveLastInput(
  edits: Edits,
  node: NodeView,
  position: number,
  name: string,
): void {
  if (position < node.inputs.length) {
    rewireInput(edits, node, position, name);
    return;
  }
  // Fields of one number keep their order.
  const { to } = node.inputFields.at(-1)!;
  const field = encodeFields((writer) => writer.string(NodeField.input, name));
  edits.replace(node.place, to, to, field);
}

/** Gives a node's first output another name; those who use it are left. */
export function renameOutput(
  edits: Edits,
  node: NodeView,
  name: string,
): void {
  rename(edits, node, node.outputFields[0]!, name);
}
