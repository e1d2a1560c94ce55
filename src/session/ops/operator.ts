/**
 * What an operator is to the session.
 *
 * Work is done as early as it can be: attributes are read when the model is
 * loaded, shapes are computed once per shape of the feeds, and what is left
 * for a run is a function on arrays.
 *
 * @module
 */

import { FormatError, ShapeError } from "../../errors.ts";
import type { Layout } from "../../kernels/layout.ts";
import type { Bounds, Kernels, Parameters } from "../../kernels/types.ts";
import type { OnnxData, OnnxType } from "../../onnx/element_types.ts";
import type { Attributes } from "../attributes.ts";
import type { Spec } from "../values.ts";

/** A node as its operator sees it when the model is loaded. */
export interface OperatorNode {
  /** `node "bn" (BatchNormalization)`, for messages. */
  readonly label: string;
  /** The operator. */
  readonly opType: string;
  /** The version of ONNX' operators that the node is written in. */
  readonly opset: number;
  readonly attributes: Attributes;
  /** For each input that the node lists, whether it has one. */
  readonly inputs: readonly boolean[];
  /** For each output that the node lists, whether it has one. */
  readonly outputs: readonly boolean[];
  /** The kernels to run on, which may change from run to run. */
  readonly kernels: () => Kernels;
}

/** Computes the outputs' elements; what the node leaves out is undefined. */
export type Run = (
  inputs: readonly (OnnxData | undefined)[],
  outputs: readonly (OnnxData | undefined)[],
) => void;

/**
 * `y = x * factors + summands`, and then bounded, for neighbours that can be
 * joined.
 */
export interface Affine {
  /** Which input is x. */
  readonly input: number;
  readonly layout: Layout;
  /** Constant factors; undefined where all are 1. */
  readonly factors: Parameters | undefined;
  /** Constant summands; undefined where all are -0, which changes nothing. */
  readonly summands: Parameters | undefined;
  /** What float32 elements are bounded by; undefined if by nothing. */
  readonly bounds?: Bounds | undefined;
}

/** What a node does for inputs of certain shapes. */
export interface Outcome {
  /** Types and extents of the outputs; elements where they are known already. */
  readonly outputs: readonly Spec[];
  /** Computes the elements, where they are not known and it is no view. */
  readonly run?: Run | undefined;
  /** Whether the first output is the first input under other extents. */
  readonly view?: boolean | undefined;
  /** Inputs in whose memory the first output may be computed. */
  readonly reuse?: readonly number[] | undefined;
  /** Whether elements can make the run fail. */
  readonly mayFail?: boolean | undefined;
  /** If that is all that the node does. */
  readonly affine?: Affine | undefined;
  /** If all that it does is to bound the float32 elements of input 0. */
  readonly clamp?: Bounds | undefined;
}

/** The inputs of a node for which a plan is made. */
export interface Inputs {
  /** How many the node lists. */
  readonly length: number;
  /** An input that the operator needs. */
  get(index: number): Spec;
  /** An input that may be left out. */
  optional(index: number): Spec | undefined;
  /** The elements of an input on which the shape of an output depends. */
  value(index: number): OnnxData;
}

/** Decides what a node does for inputs of certain shapes. */
export type Specialize = (inputs: Inputs) => Outcome;

/** An operator. */
export interface Operator {
  /** The first version of ONNX' operators that has it. */
  readonly since: number;
  /** The fewest and the most inputs. */
  readonly inputs: readonly [fewest: number, most: number];
  /** The fewest and the most outputs; one and one if missing. */
  readonly outputs?: readonly [fewest: number, most: number];
  /**
   * Reads a node's attributes.
   *
   * @throws {FormatError} If one is not what the operator says.
   * @throws {UnsupportedError} If it asks for what the session cannot do.
   */
  load(node: OperatorNode): Specialize;
}

/** Operators by name. */
export type OperatorTable = Readonly<Record<string, Operator>>;

/** Throws that a node cannot run on inputs of certain shapes. */
export function failShape(node: OperatorNode, problem: string): never {
  throw new ShapeError(`Cannot run ${node.label}: ${problem}`);
}

/** Throws that a node is not what the operator says. */
export function failFormat(node: OperatorNode, problem: string): never {
  throw new FormatError(`Cannot run ${node.label}: ${problem}`);
}

/** The type of inputs that must have one type, and be one of some. */
export function commonType(
  node: OperatorNode,
  specs: readonly Spec[],
  allowed: (type: OnnxType) => boolean = () => true,
): OnnxType {
  const [first] = specs;
  for (const { type } of specs) {
    if (type !== first!.type) {
      failFormat(
        node,
        `expected inputs of one type, got ${first!.type} and ${type}`,
      );
    }
  }
  if (!allowed(first!.type)) {
    failFormat(node, `the operator does not take ${first!.type}`);
  }
  return first!.type;
}

/** An axis from 0, where a model may count from the end. */
export function checkAxis(
  node: OperatorNode,
  axis: number,
  rank: number,
): number {
  if (axis < -rank || axis >= rank) {
    failShape(node, `expected an axis below rank ${rank}, got ${axis}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Distinct axes from 0. */
export function checkAxes(
  node: OperatorNode,
  axes: readonly number[],
  rank: number,
): number[] {
  const checked = axes.map((axis) => checkAxis(node, axis, rank));
  if (new Set(checked).size !== checked.length) {
    failShape(node, `the axes [${axes.join(", ")}] name one twice`);
  }
  return checked;
}

/** The most integers in a list that says something of a shape. */
const MOST_INTEGERS = 4096;

/**
 * The integers of an input that says something of a shape.
 *
 * Those beyond 2^53 become the numbers beside: they mean "to the end".
 */
export function integersOf(
  node: OperatorNode,
  inputs: Inputs,
  index: number,
): number[] {
  const { type, dims } = inputs.get(index);
  if (type !== "int64" && type !== "int32") {
    failFormat(
      node,
      `expected integers as input ${index}, got elements of ${type}`,
    );
  }
  if (
    dims.length > 1 || dims.some((extent) => extent > MOST_INTEGERS)
  ) {
    failShape(
      node,
      `expected a list of integers as input ${index}, got [${dims.join(", ")}]`,
    );
  }
  const values: ArrayLike<number | bigint> = inputs.value(index);
  return Array.from(values, (value) => {
    const number = Number(value);
    return Math.max(
      -Number.MAX_SAFE_INTEGER,
      Math.min(number, Number.MAX_SAFE_INTEGER),
    );
  });
}

/** Axes that were an attribute first and became an input. */
export function axesOf(
  node: OperatorNode,
  since: number,
): (inputs: Inputs) => number[] | undefined {
  if (node.opset < since) {
    const axes = node.attributes.ints("axes");
    return () => axes;
  }
  return (inputs) =>
    inputs.optional(1) ? integersOf(node, inputs, 1) : undefined;
}
