/**
 * The ONNX project's tests of single operators, in `testdata/onnx/node`.
 *
 * @module
 */

import type onnxProto from "onnx-proto";
import {
  elementTypeOf,
  type OnnxData,
  type OnnxType,
} from "../../onnx/element_types.ts";
import { onnx } from "../../onnx/testing/onnx_proto.ts";

/** A tensor of a case. */
export interface NodeTensor {
  /** The graph's input or output that it is for. */
  readonly name: string;
  readonly type: OnnxType;
  readonly dims: number[];
  /** 16-bit floats as their bits, `bool` as 0 and 1. */
  readonly data: OnnxData;
}

/** A model, inputs, and the outputs that the ONNX project expects. */
export interface NodeCase {
  /** The test's name, `@`, and the version of the package `onnx` it is from. */
  readonly name: string;
  /** The version of the default domain that the model imports. */
  readonly opset: number;
  /** The types of the model's nodes, each once. */
  readonly operators: string[];
  /** What the ONNX project allows: `|y - expected| <= atol + rtol * |expected|`. */
  readonly rtol: number;
  readonly atol: number;
  /** The original file. */
  readonly model: Uint8Array;
  readonly inputs: NodeTensor[];
  readonly outputs: NodeTensor[];
}

/** Where bytes stand in `cases.bin`: at, length. */
type Span = readonly [at: number, length: number];
type NamedSpan = readonly [name: string, at: number, length: number];

interface IndexRow extends
  Pick<
    NodeCase,
    "name" | "opset" | "operators" | "rtol" | "atol"
  > {
  readonly model: Span;
  readonly inputs: readonly NamedSpan[];
  readonly outputs: readonly NamedSpan[];
}

const FOLDER = new URL("../../../testdata/onnx/node/", import.meta.url);

/** The elements of a message that has no `raw_data`. */
function typedElements(
  { int32Data, floatData, int64Data, doubleData, uint64Data }:
    onnxProto.onnx.ITensorProto,
): (number | bigint)[] {
  const wide = [...int64Data ?? [], ...uint64Data ?? []];
  return [
    ...int32Data ?? [],
    ...floatData ?? [],
    ...doubleData ?? [],
    // Numbers, or protobufjs' Long where that package is there.
    ...wide.map((value) => BigInt(String(value))),
  ];
}

/** Decodes a `TensorProto` with onnx-proto. */
export function decodeNodeTensor(bytes: Uint8Array, name: string): NodeTensor {
  const message = onnx.TensorProto.decode(bytes);
  const info = elementTypeOf(message.dataType ?? 0);
  if (!info) {
    throw new Error(`${name} has the element type ${message.dataType}`);
  }
  const dims = (message.dims ?? []).map(Number);
  const count = dims.reduce((product, extent) => product * extent, 1);
  const raw = message.rawData ?? new Uint8Array();
  const typed = typedElements(message);
  const data = typed.length > 0
    ? new info.Data(typed.length)
    // A copy, because an element has to stand at a multiple of its size.
    : new info.Data(Uint8Array.from(raw).buffer);
  typed.forEach((value, i) => {
    const wide = data instanceof BigInt64Array ||
      data instanceof BigUint64Array;
    (data as { [index: number]: number | bigint })[i] = wide
      ? BigInt(value)
      : Number(value);
  });
  if (data.length !== count) {
    throw new Error(`${name} has ${data.length} elements for [${dims}]`);
  }
  return { name, type: info.name, dims, data };
}

/**
 * Reads all cases, in the index's order: the newest package's first.
 *
 * @yields A case, decoded when it is asked for.
 */
export function* nodeCases(): Generator<NodeCase> {
  const bytes = Deno.readFileSync(new URL("cases.bin", FOLDER));
  const part = ([at, length]: Span) => bytes.subarray(at, at + length);
  const tensors = (spans: readonly NamedSpan[]): NodeTensor[] =>
    spans.map(([name, ...span]) => decodeNodeTensor(part(span), name));
  const rows: IndexRow[] = JSON.parse(
    Deno.readTextFileSync(new URL("index.json", FOLDER)),
  );
  for (const { model, inputs, outputs, ...row } of rows) {
    yield {
      ...row,
      model: part(model),
      inputs: tensors(inputs),
      outputs: tensors(outputs),
    };
  }
}
