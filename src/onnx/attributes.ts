/**
 * Changes of a node's attributes and outputs.
 *
 * @module
 */

import { type Edits, encodeFields } from "./edit.ts";
import { type AttributeProto, writeAttribute } from "./model.ts";
import { AttributeField, NodeField } from "./schema_fields.ts";
import type { NodeView } from "./view.ts";

/** An attribute that is a number. */
export type NumberAttribute = Extract<
  AttributeProto,
  { f: number } | { i: number }
>;

/** Gives a node's attribute a number, or the node the attribute. */
export function writeNumber(
  edits: Edits,
  { attributes, place }: NodeView,
  attribute: NumberAttribute,
): void {
  const old = attributes.get(attribute.name);
  const number = AttributeField["f" in attribute ? "f" : "i"];
  const isThere = old !== undefined && old.refAttrName === undefined &&
    old["f" in attribute ? "f" : "i"] !== undefined;
  if (isThere) {
    edits.set(
      old.place,
      number,
      encodeFields((writer) =>
        "f" in attribute
          ? writer.float(number, attribute.f)
          : writer.integer(number, attribute.i)
      ),
    );
    return;
  }
  const content = encodeFields((writer) =>
    writer.message(
      NodeField.attribute,
      (inner) => writeAttribute(inner, attribute),
    )
  );
  if (old) edits.replace(place, old.place.start, old.place.to, content);
  else edits.append(place, content);
}

/** Takes an attribute from a node, if it has it. */
export function removeAttribute(
  edits: Edits,
  { attributes }: NodeView,
  name: string,
): void {
  const attribute = attributes.get(name);
  if (attribute) edits.remove(attribute.place);
}

/** Takes a node's outputs from a position on. */
export function removeOutputs(
  edits: Edits,
  { outputFields, place }: NodeView,
  from: number,
): void {
  for (const { start, to } of outputFields.slice(from)) {
    edits.replace(place, start, to);
  }
}

/** Gives a node more outputs, behind those that it has. */
export function addOutputs(
  edits: Edits,
  { outputFields, place }: NodeView,
  names: readonly string[],
): void {
  const at = outputFields.at(-1)?.to ?? place.to;
  edits.replace(
    place,
    at,
    at,
    encodeFields((writer) => {
      for (const name of names) writer.string(NodeField.output, name);
    }),
  );
}
