/**
 * The values that a model's quantization annotations name: each tells with
 * what scale and zero point another value is quantized.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import type { OpenModel } from "../open.ts";
import {
  AnnotationField,
  EntryField,
  GraphField,
  ModelField,
} from "../schema_fields.ts";
import { type Scope, type Value, valueOf } from "../scopes.ts";
import type { ModelView } from "../view.ts";
import { readFields } from "../wire_reader.ts";

// By the main graph, which copies of `Scopes` share.
const known = new WeakMap<Scope, ReadonlySet<Value>>();

/** Where the fields of a graph stand; the main one may come in several parts. */
function* partsOf(
  { bytes, place }: ModelView,
  { body, parent }: Scope,
): Generator<{ readonly from: number; readonly to: number }> {
  if (body.kind !== "graph") return; // functions have no annotations
  if (parent) {
    yield body.place;
    return;
  }
  for (const field of readFields(bytes, place.from, place.to)) {
    if (field.number === ModelField.graph) yield field;
  }
}

/** The names in a graph's annotations. */
function* namesIn(view: ModelView, scope: Scope): Generator<string> {
  for (const { from, to } of partsOf(view, scope)) {
    for (const field of readFields(view.bytes, from, to)) {
      if (field.number !== GraphField.quantizationAnnotation) continue;
      for (const each of field.fields()) {
        if (each.number === AnnotationField.tensorName) yield each.string();
        if (each.number !== AnnotationField.quantParameterTensorNames) continue;
        for (const part of each.fields()) {
          if (part.number === EntryField.value) yield part.string();
        }
      }
    }
  }
}

/**
 * All values that annotations name, which must keep their names and elements.
 *
 * @throws {FormatError} If an annotation is damaged.
 */
export function annotatedValues(
  { view, scopes }: OpenModel,
): ReadonlySet<Value> {
  const found = known.get(scopes.main);
  if (found) return found;
  const values = new Set<Value>();
  for (const scope of scopes.all) {
    for (const name of namesIn(view, scope)) {
      const value = valueOf(scope, name);
      if (value) values.add(value);
    }
  }
  known.set(scopes.main, values);
  return values;
}
