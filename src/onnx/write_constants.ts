/**
 * New elements for constants of a model.
 *
 * @module
 */

import { UnsupportedError } from "../errors.ts";
import { byteView, type Tensor } from "../tensor.ts";
import type { Constant } from "./constants.ts";
import { type Edits, encodeFields } from "./edit.ts";
import { elementTypeOf } from "./element_types.ts";
import { type NodeProto, writeTensor } from "./model.ts";
import { insertNodeBefore, rewireInput } from "./node_edits.ts";
import { GraphField, TensorField } from "./schema_fields.ts";
import type { Scope, Scopes, Value } from "./scopes.ts";
import { constant as tensorProto } from "./step.ts";
import type { TensorView } from "./tensor_view.ts";
import { CONSTANT_IR_VERSION } from "./versions.ts";
import type { ModelView, NodeView } from "./view.ts";

/** New elements for one input of a node. */
export interface ConstantWrite {
  readonly scope: Scope;
  readonly node: NodeView;
  /** Which input. */
  readonly position: number;
  /** What it is now. */
  readonly constant: Constant;
  /** What it shall be: the same element type and extents. */
  readonly tensor: Tensor;
  /** What a new constant is called, should one be needed. */
  readonly name: string;
}

/** Uses that are allowed: which inputs of which nodes. */
type Allowed = Map<NodeView, Set<number>>;

function allow(allowed: Allowed, node: NodeView, position: number): void {
  const positions = allowed.get(node);
  if (positions) positions.add(position);
  else allowed.set(node, new Set([position]));
}

/** Allows what passes a value on unchanged: Identity, or a call to its function. */
function allowPassing(allowed: Allowed, { origin, scope }: Value): void {
  if (origin.kind === "node") allow(allowed, origin.node, 0);
  if (origin.kind !== "input") return;
  for (const { node } of scope.calls) allow(allowed, node, origin.position);
}

/** Whether no one but these nodes reads the constant, so that it may change. */
function isPrivate(writes: readonly ConstantWrite[]): boolean {
  const values = new Set<Value>();
  const allowed: Allowed = new Map();
  for (const { constant, node, position } of writes) {
    values.add(constant.origin);
    allow(allowed, node, position);
    for (const value of constant.chain) {
      if (values.has(value)) continue;
      values.add(value);
      allowPassing(allowed, value);
    }
  }
  for (const { uses } of values) {
    for (const use of uses) {
      if (use.kind !== "node") return false;
      if (!allowed.get(use.node)?.has(use.position)) return false;
    }
  }
  return true;
}

/** The elements as the typed field of `TensorProto` that a type has. */
function typedField(number: number, tensor: Tensor): Uint8Array {
  const bytes = byteView(tensor.data);
  return encodeFields((writer) => {
    if (tensor.type === "float32" || tensor.type === "float64") {
      // Packed numbers are their little-endian bytes.
      writer.bytes(number, bytes);
    } else {
      const { buffer, byteOffset } = bytes;
      const bits = new Uint16Array(buffer, byteOffset, tensor.data.length);
      writer.integers(number, Array.from(bits));
    }
  });
}

/**
 * Gives a tensor of the file new elements of the same number and type, in the
 * field that held the old ones. Elements of other files come into this one.
 */
export function rewriteTensor(
  edits: Edits,
  view: TensorView,
  tensor: Tensor,
): void {
  const { place, fields, dataFields } = view;
  const [first, ...rest] = view.external
    ? fields.filter((field) =>
      field.number === TensorField.externalData ||
      field.number === TensorField.dataLocation || dataFields.includes(field)
    )
    : dataFields;
  const number = TensorField[elementTypeOf(view.dataType)!.typedField];
  const isTyped = !view.external && first?.number === number;
  const content = isTyped
    ? typedField(number, tensor)
    : encodeFields((writer) =>
      writer.bytes(TensorField.rawData, byteView(tensor.data))
    );
  if (!first) {
    edits.append(place, content);
    return;
  }
  edits.replace(place, first.start, first.to, content);
  for (const field of rest) edits.replace(place, field.start, field.to);
}

/** Whether two tensors have the same bits. */
export function hasBits(a: Tensor, b: Tensor): boolean {
  // Folding gives back the tensor itself where nothing changed.
  if (a === b) return true;
  const [left, right] = [byteView(a.data), byteView(b.data)];
  return a.type === b.type && left.length === right.length &&
    left.every((byte, i) => byte === right[i]);
}

/** Whether the constant can take the elements where it stands. */
function fitsInPlace({ constant, tensor }: ConstantWrite): boolean {
  return constant.source.kind === "tensor" && constant.casts.length === 0 &&
    elementTypeOf(constant.source.tensor.dataType)?.name === tensor.type;
}

/** A Constant node that gives a tensor. */
function constantNode(name: string, tensor: Tensor): NodeProto {
  return {
    name,
    opType: "Constant",
    input: [],
    output: [name],
    attribute: [{ name: "value", t: tensorProto(name, tensor) }],
  };
}

/**
 * Adds a constant to a graph or function, where a node can use it.
 *
 * An initializer, where the format has those: functions have none, and before
 * version 4 they are inputs that every caller sees; there it is a Constant
 * node right before its user, so that the order stays topological.
 *
 * @returns The constant's name.
 */
export function addConstant(
  edits: Edits,
  model: ModelView,
  scopes: Scopes,
  { scope, node, name: wanted, tensor }: Pick<
    ConstantWrite,
    "scope" | "node" | "name" | "tensor"
  >,
): string {
  const name = scopes.names.take(wanted);
  const { body } = scope;
  if (body.kind === "graph" && model.irVersion >= CONSTANT_IR_VERSION) {
    edits.append(
      body.place,
      encodeFields((writer) =>
        writer.message(
          GraphField.initializer,
          (inner) => writeTensor(inner, tensorProto(name, tensor)),
        )
      ),
    );
  } else {
    insertNodeBefore(edits, scope, node, constantNode(name, tensor));
  }
  return name;
}

/** Training information binds initializers by name, which a split would change. */
function checkBound(
  { trainingInfo }: ModelView,
  { constant, name }: ConstantWrite,
): void {
  if (trainingInfo.length === 0) return;
  throw new UnsupportedError(
    `Cannot give "${name}" a constant of its own, apart from ${constant.words}: the model's training information binds what it has`,
  );
}

/**
 * Gives inputs of nodes new elements.
 *
 * A constant that only these nodes read is changed where it stands; of one
 * that others read too, they get a constant of their own, and the others keep
 * what they have. So do nodes that shared one and shall now differ.
 *
 * @param edits Takes the changes.
 * @param model The model.
 * @param scopes Its values.
 * @param writes The inputs, each at most once.
 *
 * @throws {UnsupportedError} If a constant has to be split that training
 * information binds.
 */
export function writeConstants(
  edits: Edits,
  model: ModelView,
  scopes: Scopes,
  writes: readonly ConstantWrite[],
): void {
  const groups = new Map<Value, ConstantWrite[]>();
  for (const write of writes) {
    const { origin } = write.constant;
    const group = groups.get(origin);
    if (group) group.push(write);
    else groups.set(origin, [write]);
  }
  for (const group of groups.values()) {
    const first = group.find(fitsInPlace);
    const inPlace = first && isPrivate(group) ? first : undefined;
    const { source } = inPlace?.constant ?? {};
    if (inPlace && source?.kind === "tensor") {
      rewriteTensor(edits, source.tensor, inPlace.tensor);
    }
    for (const write of group) {
      const isDone = inPlace && fitsInPlace(write) &&
        hasBits(write.tensor, inPlace.tensor);
      if (isDone) continue;
      checkBound(model, write);
      const name = addConstant(edits, model, scopes, write);
      rewireInput(edits, write.node, write.position, name);
    }
  }
}
