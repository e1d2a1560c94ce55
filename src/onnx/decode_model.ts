/**
 * Decodes ONNX files into views.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import {
  AttributeField,
  DimensionField,
  FunctionField,
  GraphField,
  ModelField,
  NodeField,
  OpsetField,
  ShapeField,
  SparseTensorField,
  TensorTypeField,
  TrainingInfoField,
  TypeField,
  ValueField,
} from "./schema_fields.ts";
import { decodeEntry, decodeTensor, type TensorView } from "./tensor_view.ts";
import type {
  AttributeView,
  FunctionView,
  GraphView,
  ModelView,
  NodeView,
  Place,
  TrainingInfoView,
  ValueView,
} from "./view.ts";
import { DEEPEST, readFields, type WireField } from "./wire_reader.ts";

function fail(what: string): never {
  throw new FormatError(`Cannot read the ONNX model: ${what}`);
}

/** The place of a field that is a message in another. */
function placeOf(field: WireField, parent: Place): Place {
  if (parent.depth === DEEPEST) {
    fail(`messages are nested more than ${DEEPEST} deep`);
  }
  const { start, from, to } = field;
  return { parent, start, from, to, depth: parent.depth + 1 };
}

/** A field that may be there once; protobuf would merge two, which no one writes. */
function once<T>(old: T | undefined, value: T, what: string): T {
  if (old !== undefined) fail(`expected one ${what}, found two`);
  return value;
}

/** The version of ONNX' own operators has two spellings of its domain. */
function domainOf(text: string): string {
  return text === "ai.onnx" ? "" : text;
}

function decodeShape(field: WireField): (number | string | null)[] {
  const shape: (number | string | null)[] = [];
  for (const dim of field.fields()) {
    if (dim.number !== ShapeField.dim) continue;
    let extent: number | string | null = null;
    for (const each of dim.fields()) {
      if (each.number === DimensionField.dimValue) extent = each.integer();
      else if (each.number === DimensionField.dimParam) extent = each.string();
    }
    shape.push(extent);
  }
  return shape;
}

function decodeValue(field: WireField, parent: Place): ValueView {
  let name = "";
  let elemType: number | undefined;
  let shape: (number | string | null)[] | undefined;
  for (const each of field.fields()) {
    if (each.number === ValueField.name) name = each.string();
    if (each.number !== ValueField.type) continue;
    for (const type of each.fields()) {
      if (type.number !== TypeField.tensorType) continue;
      for (const part of type.fields()) {
        if (part.number === TensorTypeField.elemType) elemType = part.integer();
        else if (part.number === TensorTypeField.shape) {
          shape = decodeShape(part);
        }
      }
    }
  }
  return { place: placeOf(field, parent), name, elemType, shape };
}

function decodeAttribute(field: WireField, parent: Place): AttributeView {
  const place = placeOf(field, parent);
  let name = "";
  let type: number | undefined;
  let f: number | undefined;
  let i: bigint | undefined;
  let s: Uint8Array | undefined;
  let t: TensorView | undefined;
  let g: GraphView | undefined;
  let refAttrName: string | undefined;
  const floats: number[] = [];
  const ints: bigint[] = [];
  const strings: Uint8Array[] = [];
  const graphs: GraphView[] = [];
  for (const each of field.fields()) {
    switch (each.number) {
      case AttributeField.name:
        name = each.string();
        break;
      case AttributeField.f:
        f = each.float();
        break;
      case AttributeField.i:
        i = each.bigint();
        break;
      case AttributeField.s:
        s = each.data();
        break;
      case AttributeField.t:
        t = once(t, decodeTensor(each, placeOf(each, place)), "tensor");
        break;
      case AttributeField.g:
        g = once(g, decodeGraph([each], place), "graph");
        break;
      case AttributeField.floats:
        for (const value of each.floats()) floats.push(value);
        break;
      case AttributeField.ints:
        for (const value of each.bigints()) ints.push(value);
        break;
      case AttributeField.strings:
        strings.push(each.data());
        break;
      case AttributeField.graphs:
        graphs.push(decodeGraph([each], place));
        break;
      case AttributeField.type:
        type = each.integer();
        break;
      case AttributeField.refAttrName:
        refAttrName = each.string();
        break;
    }
  }
  return {
    place,
    name,
    type,
    f,
    i,
    s,
    t,
    g,
    floats,
    ints,
    strings,
    graphs,
    refAttrName: refAttrName === "" ? undefined : refAttrName,
  };
}

function decodeNode(field: WireField, parent: Place): NodeView {
  const place = placeOf(field, parent);
  let name = "";
  let opType = "";
  let domain = "";
  let overload = "";
  const inputFields: WireField[] = [];
  const outputFields: WireField[] = [];
  const attributes = new Map<string, AttributeView>();
  for (const each of field.fields()) {
    switch (each.number) {
      case NodeField.input:
        inputFields.push(each);
        break;
      case NodeField.output:
        outputFields.push(each);
        break;
      case NodeField.name:
        name = each.string();
        break;
      case NodeField.opType:
        opType = each.string();
        break;
      case NodeField.attribute: {
        const attribute = decodeAttribute(each, place);
        attributes.set(attribute.name, attribute);
        break;
      }
      case NodeField.domain:
        domain = each.string();
        break;
      case NodeField.overload:
        overload = each.string();
        break;
    }
  }
  return {
    place,
    name,
    opType,
    domain: domainOf(domain),
    overload,
    inputs: inputFields.map((input) => input.string()),
    outputs: outputFields.map((output) => output.string()),
    inputFields,
    outputFields,
    attributes,
  };
}

/** A sparse tensor has its name in its values. */
function sparseName(field: WireField, parent: Place): string {
  const place = placeOf(field, parent);
  for (const each of field.fields()) {
    if (each.number === SparseTensorField.values) {
      return decodeTensor(each, placeOf(each, place)).name;
    }
  }
  return "";
}

/** A graph; if it is there in several parts, protobuf reads them as one. */
function decodeGraph(
  parts: readonly WireField[],
  parent: Place,
): GraphView {
  let place: Place | undefined;
  let name = "";
  const nodes: NodeView[] = [];
  const initializers = new Map<string, TensorView>();
  const sparse = new Set<string>();
  const inputs: ValueView[] = [];
  const outputs: ValueView[] = [];
  const valueInfo = new Map<string, ValueView>();
  for (const part of parts) {
    place = placeOf(part, parent);
    for (const each of part.fields()) {
      switch (each.number) {
        case GraphField.node:
          nodes.push(decodeNode(each, place));
          break;
        case GraphField.name:
          name = each.string();
          break;
        case GraphField.initializer: {
          const tensor = decodeTensor(each, placeOf(each, place));
          if (initializers.has(tensor.name)) {
            fail(`there are two initializers "${tensor.name}"`);
          }
          initializers.set(tensor.name, tensor);
          break;
        }
        case GraphField.input:
          inputs.push(decodeValue(each, place));
          break;
        case GraphField.output:
          outputs.push(decodeValue(each, place));
          break;
        case GraphField.valueInfo: {
          const value = decodeValue(each, place);
          valueInfo.set(value.name, value);
          break;
        }
        case GraphField.sparseInitializer:
          sparse.add(sparseName(each, place));
          break;
      }
    }
  }
  return {
    kind: "graph",
    place: place!,
    name,
    nodes,
    initializers,
    sparse,
    inputs,
    outputs,
    valueInfo,
  };
}

function decodeOpset(field: WireField): [domain: string, version: number] {
  let domain = "";
  let version = 0;
  for (const each of field.fields()) {
    if (each.number === OpsetField.domain) domain = each.string();
    else if (each.number === OpsetField.version) version = each.integer();
  }
  return [domainOf(domain), version];
}

function decodeFunction(field: WireField, parent: Place): FunctionView {
  const place = placeOf(field, parent);
  let name = "";
  let domain = "";
  let overload = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  const nodes: NodeView[] = [];
  const opsets = new Map<string, number>();
  const defaults = new Map<string, AttributeView>();
  for (const each of field.fields()) {
    switch (each.number) {
      case FunctionField.name:
        name = each.string();
        break;
      case FunctionField.input:
        inputs.push(each.string());
        break;
      case FunctionField.output:
        outputs.push(each.string());
        break;
      case FunctionField.node:
        nodes.push(decodeNode(each, place));
        break;
      case FunctionField.opsetImport:
        opsets.set(...decodeOpset(each));
        break;
      case FunctionField.domain:
        domain = domainOf(each.string());
        break;
      case FunctionField.attributeProto: {
        const attribute = decodeAttribute(each, place);
        defaults.set(attribute.name, attribute);
        break;
      }
      case FunctionField.overload:
        overload = each.string();
        break;
    }
  }
  return {
    kind: "function",
    place,
    name,
    domain,
    overload,
    inputs,
    outputs,
    nodes,
    opsets,
    defaults,
  };
}

function decodeTrainingInfo(
  field: WireField,
  parent: Place,
): TrainingInfoView {
  const place = placeOf(field, parent);
  let initialization: GraphView | undefined;
  let algorithm: GraphView | undefined;
  const initializationBinding = new Map<string, string>();
  const updateBinding = new Map<string, string>();
  for (const each of field.fields()) {
    switch (each.number) {
      case TrainingInfoField.initialization:
        initialization = once(
          initialization,
          decodeGraph([each], place),
          "initialization graph",
        );
        break;
      case TrainingInfoField.algorithm:
        algorithm = once(algorithm, decodeGraph([each], place), "algorithm");
        break;
      case TrainingInfoField.initializationBinding:
        initializationBinding.set(...decodeEntry(each));
        break;
      case TrainingInfoField.updateBinding:
        updateBinding.set(...decodeEntry(each));
        break;
    }
  }
  return {
    place,
    initialization,
    algorithm,
    initializationBinding,
    updateBinding,
  };
}

/**
 * Decodes an ONNX file.
 *
 * @param file Its bytes; they must not change while the view is used.
 * @returns The view.
 *
 * @throws {FormatError} If it is no ONNX model, truncated or damaged.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization } from "../layer/batch_normalization.ts";
 * import { buildOnnx } from "./build.ts";
 * import { viewModel } from "./view.ts";
 *
 * const bytes = buildOnnx(new BatchNormalization(), { inputShape: [null, 3] });
 * const model = viewModel(bytes);
 * assertEquals(model.graph.nodes.map(({ opType }) => opType), ["BatchNormalization"]);
 * assertEquals(model.opsets.get(""), 15);
 * ```
 */
export function viewModel(file: Uint8Array): ModelView {
  if (!(file instanceof Uint8Array)) {
    fail("expected its bytes as a Uint8Array");
  }
  // Node's Buffer is a Uint8Array whose slice does not copy.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.length);
  const place: Place = {
    parent: undefined,
    start: 0,
    from: 0,
    to: bytes.length,
    depth: 0,
  };
  let irVersion = 0;
  let producerName = "";
  const graphs: WireField[] = [];
  const opsets = new Map<string, number>();
  const opsetPlaces = new Map<string, Place>();
  const functions: FunctionView[] = [];
  const trainingInfo: TrainingInfoView[] = [];
  const metadata = new Map<string, string>();
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case ModelField.irVersion:
        irVersion = field.integer();
        break;
      case ModelField.producerName:
        producerName = field.string();
        break;
      case ModelField.graph:
        graphs.push(field);
        break;
      case ModelField.opsetImport: {
        const [domain, version] = decodeOpset(field);
        opsets.set(domain, version);
        opsetPlaces.set(domain, placeOf(field, place));
        break;
      }
      case ModelField.metadataProps:
        metadata.set(...decodeEntry(field));
        break;
      case ModelField.trainingInfo:
        trainingInfo.push(decodeTrainingInfo(field, place));
        break;
      case ModelField.functions:
        functions.push(decodeFunction(field, place));
        break;
    }
  }
  if (graphs.length === 0) {
    return fail(
      bytes.length === 0
        ? "it is empty"
        : "it has no graph; expected a ModelProto",
    );
  }
  return {
    bytes,
    place,
    irVersion,
    producerName,
    opsets,
    opsetPlaces,
    graph: decodeGraph(graphs, place),
    functions,
    trainingInfo,
    metadata,
  };
}
