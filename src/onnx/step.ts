/**
 * Nodes before they are put in a graph.
 *
 * @module
 */

import { byteView, type Tensor } from "../tensor.ts";
import { type AttributeProto, DataType, type TensorProto } from "./model.ts";

/**
 * A node of a chain: it takes the value of the node before it as its first
 * input and constants as the others.
 */
export interface Step {
  /** The operator. */
  readonly op: string;
  /** The inputs after the first. */
  readonly constants: readonly TensorProto[];
  /** The operator's attributes. */
  readonly attributes: readonly AttributeProto[];
  /** What a reader of the graph should know. */
  readonly docString?: string | undefined;
}

/** A constant that is a list of integers, such as a shape. */
export function integers(name: string, values: readonly number[]): TensorProto {
  return {
    name,
    dims: [values.length],
    dataType: DataType.int64,
    rawData: byteView(BigInt64Array.from(values, BigInt)),
  };
}

/** A constant with the elements of a tensor; its memory is not copied. */
export function constant(
  name: string,
  { type, dims, data }: Tensor,
): TensorProto {
  return { name, dims, dataType: DataType[type], rawData: byteView(data) };
}

/** A conversion of the element type. */
export function cast(to: DataType): Step {
  return { op: "Cast", constants: [], attributes: [{ name: "to", i: to }] };
}
