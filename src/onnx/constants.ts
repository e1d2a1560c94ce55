/**
 * What a value is if it does not depend on the model's inputs.
 *
 * @module
 */

import { EvenkeelError } from "../errors.ts";
import {
  castTensor,
  type ElementType,
  isElementType,
  type Tensor,
} from "../tensor.ts";
import { elementTypeOf, type OnnxType } from "./element_types.ts";
import type { ExternalData } from "./external_data.ts";
import { nodeName, type Scope, type Value, valueOf } from "./scopes.ts";
import { type OnnxTensor, readTensor, type TensorView } from "./tensor_view.ts";
import type { AttributeView, NodeView } from "./view.ts";

/** Where a constant's elements stand. */
export type ConstantSource =
  | { readonly kind: "tensor"; readonly tensor: TensorView }
  | {
    readonly kind: "attribute";
    readonly attribute: AttributeView;
    readonly elements: OnnxTensor;
  };

/** A constant, traced to where it stands in the file. */
export interface Constant {
  /** The value that an initializer or a Constant node gives. */
  readonly origin: Value;
  readonly source: ConstantSource;
  /**
   * The values between it and who asked, the nearest to `origin` first: what
   * Identity and Cast nodes and a function's inputs pass on.
   */
  readonly chain: readonly Value[];
  /** The `TensorProto.DataType`s that Cast nodes make of it, the first first. */
  readonly casts: readonly number[];
  /** Where it comes from, in words. */
  readonly words: string;
}

/** A constant, or why a value is none. */
export type Traced =
  | { readonly constant: Constant; readonly reason?: undefined }
  | { readonly constant?: undefined; readonly reason: string };

/** The constant that a node of type Constant holds; undefined if it is none of numbers. */
function constantOf(node: NodeView): ConstantSource | undefined {
  for (const [name, attribute] of node.attributes) {
    if (name === "value" && attribute.t) {
      return { kind: "tensor", tensor: attribute.t };
    }
    const { f, i, floats, ints } = attribute;
    const elements: OnnxTensor | undefined = name === "value_float"
      ? { type: "float32", dims: [], data: Float32Array.of(f ?? 0) }
      : name === "value_floats"
      ? {
        type: "float32",
        dims: [floats.length],
        data: Float32Array.from(floats),
      }
      : name === "value_int"
      ? { type: "int64", dims: [], data: BigInt64Array.of(i ?? 0n) }
      : name === "value_ints"
      ? { type: "int64", dims: [ints.length], data: BigInt64Array.from(ints) }
      : undefined;
    if (elements) return { kind: "attribute", attribute, elements };
  }
  return undefined;
}

function wordsOf({ origin, name, scope, isInput }: Value): string {
  if (origin.kind !== "initializer") {
    return `Constant node "${
      scope.path + (origin.kind === "node" ? nodeName(origin.node) : name)
    }"`;
  }
  const where = origin.tensor.external?.get("location");
  return [
    `initializer "${name}"`,
    ...(isInput ? ["which is also a graph input"] : []),
    ...(where ? [`in the file "${where}"`] : []),
  ].join(", ");
}

/** The value from which a function's input comes, if one call gives it. */
function callerOf(
  { scope }: Value,
  position: number,
): { value: Value | undefined; reason: string } {
  const { calls } = scope;
  const [call] = calls;
  if (calls.length !== 1) {
    return {
      value: undefined,
      reason: calls.length === 0
        ? "an input of a function that nothing calls"
        : `an input of a function that ${calls.length} nodes call`,
    };
  }
  const name = call!.node.inputs[position] ?? "";
  return {
    value: name === "" ? undefined : valueOf(call!.scope, name),
    reason: "an input of a function that its call leaves out",
  };
}

/** One step towards a value's origin: the constant itself, what comes before, or why neither. */
type Step =
  | { readonly source: ConstantSource }
  | { readonly before: Value; readonly cast?: number }
  | { readonly reason: string };

function stepThroughNode(value: Value, node: NodeView): Step {
  const { opType, domain, inputs } = node;
  if (domain === "" && opType === "Constant") {
    const source = constantOf(node);
    return source ? { source } : {
      reason: `the Constant node "${nodeName(node)}" holds no dense numbers`,
    };
  }
  if (domain === "" && (opType === "Identity" || opType === "Cast")) {
    const from = inputs[0] ?? "";
    const before = valueOf(value.scope, from);
    if (!before) return { reason: `nothing gives the value "${from}"` };
    return opType === "Identity"
      ? { before }
      : { before, cast: Number(node.attributes.get("to")?.i ?? 0n) };
  }
  const where = value.scope.path + nodeName(node);
  return { reason: `the ${opType} node "${where}" computes "${value.name}"` };
}

function stepBack(value: Value): Step {
  const { origin, name, scope } = value;
  switch (origin.kind) {
    case "initializer":
      return { source: { kind: "tensor", tensor: origin.tensor } };
    case "sparse":
      return { reason: `the initializer "${name}" is sparse` };
    case "node":
      return stepThroughNode(value, origin.node);
    case "input": {
      if (scope.body.kind === "graph") {
        const what = scope.parent ? "subgraph" : "graph";
        return { reason: `the ${what} input "${name}" has no value` };
      }
      const { value: before, reason } = callerOf(value, origin.position);
      return before ? { before } : { reason: `"${name}" is ${reason}` };
    }
  }
}

/**
 * Traces a value to the constant that it is: through Identity, Cast, and the
 * one call of a function.
 *
 * @param scope Where the value is used.
 * @param name Its name there.
 * @returns The constant, or why it is none.
 */
export function traceConstant(scope: Scope, name: string): Traced {
  const start = valueOf(scope, name);
  if (!start) return { reason: `nothing gives the value "${name}"` };
  const known = traced.get(start);
  if (known) return known;
  const result = trace(start);
  traced.set(start, result);
  return result;
}

/** Models are views of a file, which does not change. */
const traced = new WeakMap<Value, Traced>();

/** No model passes a constant on so often; each constant keeps its own chain. */
const LONGEST_CHAIN = 1000;

function trace(start: Value): Traced {
  const chain: Value[] = [];
  const casts: number[] = [];
  const seen = new Set<Value>();
  for (let value: Value = start;;) {
    // Cyclic graphs are no ONNX, but a file may hold one.
    if (seen.has(value)) return { reason: `"${value.name}" depends on itself` };
    seen.add(value);
    const step = stepBack(value);
    if ("reason" in step) return step;
    if ("source" in step) {
      chain.reverse();
      casts.reverse();
      const words = wordsOf(value);
      return {
        constant: { origin: value, source: step.source, chain, casts, words },
      };
    }
    if (chain.length === LONGEST_CHAIN) {
      return {
        reason: `more than ${LONGEST_CHAIN} nodes pass "${start.name}" on`,
      };
    }
    if (step.cast !== undefined) casts.push(step.cast);
    chain.push(value);
    value = step.before;
  }
}

/**
 * The elements of a constant, as they stand in the file: not cast.
 *
 * @throws {FormatError} If the file does not hold what it says.
 * @throws {UnsupportedError} If they are no numbers of 8 to 64 bits.
 */
export function readConstant(
  { source }: Constant,
  external: ExternalData | undefined,
): OnnxTensor {
  return source.kind === "attribute"
    ? source.elements
    : readTensor(source.tensor, external);
}

/** The `TensorProto.DataType` of a constant's elements in the file. */
export function dataTypeOf({ source }: Constant): number {
  if (source.kind === "tensor") return source.tensor.dataType;
  return source.elements.type === "float32" ? 1 : 7;
}

/** A constant's elements, or why they cannot be read. */
export function tryConstant(
  scope: Scope,
  name: string,
  external: ExternalData | undefined,
):
  | { readonly constant: Constant; readonly tensor: OnnxTensor }
  | NoConstant {
  const { constant, reason } = traceConstant(scope, name);
  if (!constant) return { reason };
  try {
    return { constant, tensor: readConstant(constant, external) };
  } catch (error) {
    if (!(error instanceof EvenkeelError)) throw error;
    return { reason: error.message };
  }
}

/** Why a value is no constant, or none that can be used. */
export interface NoConstant {
  readonly constant?: undefined;
  readonly tensor?: undefined;
  readonly reason: string;
}

/** A constant of floating point numbers as a node sees it: cast as the model casts it. */
export interface FloatConstant {
  readonly constant: Constant;
  readonly tensor: Tensor;
  readonly reason?: undefined;
}

/** The element type of ours that a type is. */
function floatType(type: OnnxType | undefined): ElementType | undefined {
  return isElementType(type) ? type : undefined;
}

/** The floating point constant that a node's input is, or why it is none. */
export function floatConstant(
  scope: Scope,
  input: string,
  external: ExternalData | undefined,
): FloatConstant | NoConstant {
  const found = tryConstant(scope, input, external);
  if (!found.constant) return found;
  const { constant, tensor: { type: code, dims, data } } = found;
  const type = floatType(code);
  let tensor = type && { type, dims, data: data as Tensor["data"] };
  for (const cast of constant.casts) {
    const to = floatType(elementTypeOf(cast)?.name);
    tensor = tensor && to && castTensor(tensor, to);
  }
  return tensor
    ? { constant, tensor }
    : { reason: `${constant.words} has no floating point numbers` };
}
