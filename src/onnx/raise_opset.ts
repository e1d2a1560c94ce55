/**
 * A higher opset for a model, where no node of it has to change.
 *
 * @module
 */

import { type Edits, encodeFields } from "./edit.ts";
import { NEWEST_KNOWN_OPSET, OPERATOR_CHANGES } from "./operator_changes.ts";
import { ModelField, OpsetField } from "./schema_fields.ts";
import { nodeName, type Scope, type Scopes } from "./scopes.ts";
import { OPSET_IR_VERSION } from "./versions.ts";
import type { ModelView, NodeView } from "./view.ts";

/** Whether a node means the same in a higher opset. */
function means(node: NodeView, from: number, to: number): boolean {
  if (node.domain !== "") return true;
  const changes = OPERATOR_CHANGES[node.opType];
  return changes !== undefined &&
    changes.every(([version, ...attributes]) =>
      version <= from || version > to ||
      (attributes.length > 0 &&
        attributes.every((name) => !node.attributes.has(name)))
    );
}

/** The main graph and its subgraphs, which follow the model's opset. */
function inOpset({ all }: Scopes): Scope[] {
  return all.filter(({ body }) => body.kind === "graph");
}

/**
 * Why a model cannot have a higher opset without rewriting other nodes than
 * BatchNormalization, which the caller rewrites.
 *
 * @param scopes The model's values.
 * @param opset The opset wanted.
 * @returns The reason; undefined if it can.
 */
export function reasonNotToRaise(
  scopes: Scopes,
  opset: number,
): string | undefined {
  if (opset > NEWEST_KNOWN_OPSET) {
    return `opset ${opset} is newer than ${NEWEST_KNOWN_OPSET}`;
  }
  for (const { body, opset: old } of scopes.all) {
    // One model has one version of an operator.
    if (body.kind === "function" && old < opset) {
      return `the function "${body.name}" imports opset ${old}`;
    }
  }
  for (const { body, path, opset: old } of inOpset(scopes)) {
    for (const node of body.nodes) {
      const isOurs = node.opType === "BatchNormalization" && node.domain === "";
      if (isOurs || means(node, old, opset)) continue;
      return `the ${node.opType} node "${
        path + nodeName(node)
      }" would have to change between opset ${old} and ${opset}`;
    }
  }
  return undefined;
}

/** Raises the version of ONNX' own operators. */
export function raiseOpset(
  edits: Edits,
  { place, opsetPlaces, irVersion }: ModelView,
  opset: number,
): void {
  if (irVersion < OPSET_IR_VERSION) {
    edits.set(
      place,
      ModelField.irVersion,
      encodeFields((writer) =>
        writer.integer(ModelField.irVersion, OPSET_IR_VERSION)
      ),
    );
  }
  const version = encodeFields((writer) =>
    writer.integer(OpsetField.version, opset)
  );
  const old = opsetPlaces.get("");
  if (old) {
    edits.set(old, OpsetField.version, version);
    return;
  }
  // The first versions of the format had no opsets.
  edits.append(
    place,
    encodeFields((writer) => writer.bytes(ModelField.opsetImport, version)),
  );
}
