/**
 * Collects the nodes and constants of a graph that is no chain.
 *
 * @module
 */

import { type Tensor, tensor } from "../../tensor.ts";
import {
  type AttributeProto,
  DataType,
  type NodeProto,
  type TensorProto,
} from "../model.ts";
import { constant, integers } from "../step.ts";
import {
  AXES_INPUT_OPSET,
  BROADCAST_MAX_OPSET,
  REDUCE_INPUT_OPSET,
  REDUCE_SUM_INPUT_OPSET,
} from "../versions.ts";

/** The operators that reduce axes. */
export type Reduction = "ReduceMean" | "ReduceSum" | "ReduceProd";

/** The type that a training graph computes in. */
export type WorkingType = "float32" | "float64";

/**
 * Writes nodes one by one; a value is known by its name, which each method
 * returns.
 */
export class GraphWriter {
  /** The opset to write. */
  readonly opset: number;
  /** The type of the graph's arithmetic. */
  readonly type: WorkingType;
  readonly #prefix: string;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #taken = new Map<string, number>();
  readonly #scalars = new Map<number, string>();
  readonly #lists = new Map<string, string>();
  /** Values that were renamed: the name they had, and have. */
  readonly #published = new Map<string, string>();

  /**
   * Begins a graph.
   *
   * @param prefix What the names of all nodes, constants and values begin with.
   * @param opset The opset to write.
   * @param type The type of the graph's arithmetic.
   */
  constructor(prefix: string, opset: number, type: WorkingType) {
    this.#prefix = prefix;
    this.opset = opset;
    this.type = type;
  }

  /** The nodes, in an order in which they can run. */
  get nodes(): readonly NodeProto[] {
    return this.#nodes;
  }

  /** The constants, in the order in which they were first used. */
  get initializers(): readonly TensorProto[] {
    return [...this.#initializers.values()];
  }

  #unique(base: string): string {
    const count = this.#taken.get(base) ?? 0;
    this.#taken.set(base, count + 1);
    return `${this.#prefix}/${base}${count === 0 ? "" : `_${count}`}`;
  }

  /** A node with one output. */
  op(
    opType: string,
    input: readonly string[],
    attribute: readonly AttributeProto[] = [],
  ): string {
    const name = this.#unique(opType);
    const output = `${name}:0`;
    this.#nodes.push({
      name,
      opType,
      input: input.map((value) => this.#published.get(value) ?? value),
      output: [output],
      attribute,
    });
    return output;
  }

  /** A node that names itself and its outputs. */
  add(node: NodeProto): void {
    this.#nodes.push(node);
  }

  /** A constant under its own, full name. */
  initializer(name: string, value: Tensor): string {
    this.#initializers.set(name, constant(name, value));
    return name;
  }

  /** A constant under a name of the graph's. */
  constant(tensor: TensorProto): string {
    const name = this.#unique(tensor.name);
    this.#initializers.set(name, { ...tensor, name });
    return name;
  }

  /** A number in the working type, written once. */
  scalar(name: string, value: number): string {
    const known = this.#scalars.get(value);
    if (known !== undefined) return known;
    const full = this.constant(
      constant(name, tensor([value], [], this.type)),
    );
    this.#scalars.set(value, full);
    return full;
  }

  /** A list of integers, written once. */
  integers(name: string, values: readonly number[]): string {
    const key = values.join();
    const known = this.#lists.get(key);
    if (known !== undefined) return known;
    const full = this.constant(integers(name, values));
    this.#lists.set(key, full);
    return full;
  }

  /** Conversion of the element type. */
  cast(value: string, to: keyof typeof DataType): string {
    return this.op("Cast", [value], [{ name: "to", i: DataType[to] }]);
  }

  /** Reshape to known extents, of which one may be -1 for the rest. */
  reshape(value: string, dims: readonly number[]): string {
    return this.op("Reshape", [value, this.integers("shape", dims)]);
  }

  /** A new dimension of extent 1 at the end of a tensor of `rank`. */
  unsqueezeLast(value: string, rank: number): string {
    return this.opset < AXES_INPUT_OPSET
      ? this.op("Unsqueeze", [value], [{ name: "axes", ints: [rank] }])
      : this.op("Unsqueeze", [value, this.integers("axes", [rank])]);
  }

  /**
   * A reduction that leaves extents of 1; over no axes, the value itself,
   * where the operator would take an empty list for all axes.
   */
  reduce(op: Reduction, value: string, axes: readonly number[]): string {
    if (axes.length === 0) return value;
    const since = op === "ReduceSum"
      ? REDUCE_SUM_INPUT_OPSET
      : REDUCE_INPUT_OPSET;
    const keep = { name: "keepdims", i: 1 };
    return this.opset < since
      ? this.op(op, [value], [{ name: "axes", ints: axes }, keep])
      : this.op(op, [value, this.integers("axes", axes)], [keep]);
  }

  /**
   * The greater or the lesser of each element and a number.
   *
   * Max and Min do not broadcast before opset 8, and onnxruntime has them in
   * float32 only; there it is `bound + relu(value - bound)`, which rounds a
   * value that is within its bounds twice.
   *
   * @param op The operator.
   * @param value The elements.
   * @param name What the number is.
   * @param bound The number.
   */
  bound(
    op: "Max" | "Min",
    value: string,
    name: string,
    bound: number,
  ): string {
    const limit = this.scalar(name, bound);
    if (this.opset >= BROADCAST_MAX_OPSET) return this.op(op, [value, limit]);
    const [greater, lesser] = op === "Max" ? [value, limit] : [limit, value];
    const beyond = this.op("Relu", [this.op("Sub", [greater, lesser])]);
    return this.op(op === "Max" ? "Add" : "Sub", [limit, beyond]);
  }

  /** The sum; a value that is not there adds nothing. */
  sum(a: string | undefined, b: string | undefined): string | undefined {
    return a === undefined || b === undefined ? a ?? b : this.op("Add", [a, b]);
  }

  /** The product; a value that is not there is a factor of 1. */
  product(a: string, ...factors: readonly (string | undefined)[]): string {
    return factors.reduce<string>(
      (product, factor) =>
        factor === undefined ? product : this.op("Mul", [product, factor]),
      a,
    );
  }

  /**
   * Gives a value a name of the caller's, as graph outputs have it: the node
   * that makes it is renamed, and what is no node's is passed on by Identity.
   */
  publish(value: string, name: string): void {
    const made = this.#nodes.some(({ output }) => output.includes(value));
    if (!made) {
      this.#nodes.push({
        name: this.#unique("Identity"),
        opType: "Identity",
        input: [this.#published.get(value) ?? value],
        output: [name],
        attribute: [],
      });
      return;
    }
    this.#published.set(value, name);
    const rename = (names: readonly string[]): readonly string[] =>
      names.map((each) => each === value ? name : each);
    this.#nodes.forEach((node, i) => {
      const { input, output } = node;
      this.#nodes[i] = {
        ...node,
        input: rename(input),
        output: rename(output),
      };
    });
  }
}
