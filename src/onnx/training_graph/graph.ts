/**
 * A training graph over one layer: its variables, and how a batch maps to
 * statistics.
 *
 * @module
 */

import type { BatchNormalization } from "../../layer/batch_normalization.ts";
import type { WeightName } from "../../layer/weights.ts";
import { sameDims, type Tensor } from "../../tensor.ts";
import { GraphWriter, type WorkingType } from "./nodes.ts";
import { type GraphVariable, graphVariables } from "./variables.ts";

/** The type that a layer's statistics are computed in. */
export function workingType({ options }: BatchNormalization): WorkingType {
  return options.dtype.compute === "float64" ? "float64" : "float32";
}

/**
 * A graph over one layer, and how a batch maps to its statistics.
 *
 * A batch is seen as `[v, groups, ...]` where the layer has ghost batches of
 * size v, else as it is. Statistics keep all dimensions, with an extent of 1
 * where they are not of a channel or ghost batch, so that they broadcast.
 */
export class TrainingGraph {
  /** What writes the nodes. */
  readonly writer: GraphWriter;
  /** The layer, which is built. */
  readonly layer: BatchNormalization;
  /** The extents of the input; null where dynamic. */
  readonly extents: readonly (number | null)[];
  /** The layer's variables. */
  readonly variables: readonly GraphVariable[];
  /** The shape of a variable that broadcasts to the batch as it is seen. */
  readonly channelDims: readonly number[];
  /** The axes of the batch as it is seen that one statistic is over. */
  readonly reduced: readonly number[];
  /** The axis of the ghost batches: one, or none. */
  readonly groups: readonly number[];
  readonly #values = new Map<WeightName, string | undefined>();

  /**
   * Begins a graph.
   *
   * @param layer The built layer.
   * @param extents The extents of its input; null where dynamic.
   * @param options The opset; what all names begin with, by default the
   * layer's; whether to see ghost batches, which there are none of in
   * inference; the variables, by default in the layer's own shape.
   */
  constructor(
    layer: BatchNormalization,
    extents: readonly (number | null)[],
    { opset, prefix = layer.name, ghosts = true, variables }: {
      opset: number;
      prefix?: string;
      ghosts?: boolean;
      variables?: readonly GraphVariable[];
    },
  ) {
    this.writer = new GraphWriter(prefix, opset, workingType(layer));
    this.layer = layer;
    this.extents = extents;
    this.variables = variables ?? graphVariables(layer);
    const isGhost = ghosts && layer.options.virtualBatchSize !== null;
    const kept = layer.axes!.map((axis) => axis + Number(isGhost));
    const rank = extents.length + Number(isGhost);
    this.groups = isGhost ? [1] : [];
    const all = [...Array(rank).keys()];
    this.channelDims = all.map((d) =>
      kept.includes(d) ? extents[d - Number(isGhost)]! : 1
    );
    this.reduced = all.filter((d) =>
      !kept.includes(d) && !this.groups.includes(d)
    );
  }

  /** Whether the layer has ghost batches, and they are seen. */
  get isGhost(): boolean {
    return this.groups.length > 0;
  }

  /**
   * Whether a layer's call in training uses the batch: a frozen one infers,
   * but for TF 1's class, which only stops moving its statistics.
   */
  static trains({ trainable, className }: BatchNormalization): boolean {
    return trainable || className === "BatchNormalizationV1";
  }

  /** A variable, in the working type and ready to broadcast. */
  value(weight: WeightName): string | undefined {
    if (!this.#values.has(weight)) this.#values.set(weight, this.#read(weight));
    return this.#values.get(weight);
  }

  #read(weight: WeightName): string | undefined {
    const variable = this.variables.find((each) => each.weight === weight);
    if (!variable) return undefined;
    return this.ready(variable.name, variable.value);
  }

  /** A tensor of a variable's shape, in the working type, to broadcast. */
  ready(name: string, { type, dims }: Pick<Tensor, "type" | "dims">): string {
    const { writer } = this;
    const value = type === writer.type ? name : writer.cast(name, writer.type);
    // A vector broadcasts along the last axis as it is.
    const isLast = sameDims(this.channelDims.slice(-1), dims) &&
      this.channelDims.slice(0, -1).every((extent) => extent === 1);
    return isLast || sameDims(dims, this.channelDims)
      ? value
      : writer.reshape(value, this.channelDims);
  }

  /** A statistic of each channel in the shape and type of the variables. */
  asVariable(value: string): string {
    const { type, dims } = this.variables[0]!.value;
    const shaped = sameDims(dims, this.channelDims)
      ? value
      : this.writer.reshape(value, dims);
    return type === this.writer.type ? shaped : this.writer.cast(shaped, type);
  }

  /** A value rounded to the variables' type, as reading it back gives it. */
  rounded(value: string): string {
    const { type } = this.variables[0]!.value;
    const { writer } = this;
    return type === writer.type
      ? value
      : writer.cast(writer.cast(value, type), writer.type);
  }

  /** The average of each statistic's elements. */
  average(value: string): string {
    return this.writer.reduce("ReduceMean", value, this.reduced);
  }

  /** The sum of each statistic's elements. */
  sum(value: string): string {
    return this.writer.reduce("ReduceSum", value, this.reduced);
  }

  /** The average of a statistic over the ghost batches. */
  averageGroups(value: string): string {
    return this.writer.reduce("ReduceMean", value, this.groups);
  }

  /** The sum of each channel's elements, in all ghost batches. */
  sumAll(value: string): string {
    const axes = [...this.reduced, ...this.groups].sort((a, b) => a - b);
    return this.writer.reduce("ReduceSum", value, axes);
  }

  /** A graph input as the statistics see it, in the working type. */
  see(input: string): string {
    const { writer } = this;
    const { compute } = this.layer.options.dtype;
    const value = compute === writer.type
      ? input
      : writer.cast(input, writer.type);
    if (!this.isGhost) return value;
    const size = this.layer.options.virtualBatchSize!;
    const [batch, ...rest] = this.extents;
    if (rest.every((extent) => extent !== null)) {
      const groups = batch === null ? -1 : batch! / size;
      return writer.reshape(value, [size, groups, ...rest as number[]]);
    }
    const indices = rest.map((_, i) => i + 1);
    const tail = writer.op("Gather", [
      writer.op("Shape", [input]),
      writer.integers("dimensions", indices),
    ], [{ name: "axis", i: 0 }]);
    const head = writer.integers("ghost_batches", [size, -1]);
    const shape = writer.op("Concat", [head, tail], [{ name: "axis", i: 0 }]);
    return writer.op("Reshape", [value, shape]);
  }

  /** The inverse of {@linkcode see}, for a value of the shape of `input`. */
  restore(value: string, input: string): string {
    const { writer } = this;
    const { compute } = this.layer.options.dtype;
    let shaped = value;
    if (this.isGhost) {
      shaped = writer.op("Reshape", [value, writer.op("Shape", [input])]);
    }
    return compute === writer.type ? shaped : writer.cast(shaped, compute);
  }

  /**
   * The number of elements behind a statistic: a number if it is known, else a
   * value of the graph, exact up to 2^24 in float32.
   */
  count(input: string): number | string {
    const extents = this.reduced.map((axis) => this.extents[axis]!);
    if (extents.every((extent) => extent !== null)) {
      return extents.reduce<number>((product, extent) => product * extent, 1);
    }
    const { writer } = this;
    const chosen = writer.op("Gather", [
      writer.op("Shape", [input]),
      writer.integers("reduced", this.reduced),
    ], [{ name: "axis", i: 0 }]);
    return writer.reduce("ReduceProd", writer.cast(chosen, writer.type), [0]);
  }
}
