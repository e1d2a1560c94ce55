/**
 * Puts a training graph's nodes into a model.
 *
 * @module
 */

import {
  DataType,
  type GraphProto,
  type NodeProto,
  type ValueInfoProto,
} from "../model.ts";
import type { TrainingGraph } from "./graph.ts";
import type { OnnxState } from "../build_options.ts";
import { CONSTANT_IR_VERSION } from "../versions.ts";

/** What goes in and out of a graph besides the layer's variables. */
export interface GraphEnds {
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
}

/** How the variables come in, and the version of the file format. */
export interface GraphPlan {
  readonly state: OnnxState;
  readonly irVersion: number;
}

/** The nodes that outputs depend on, in their order. */
function needed(
  nodes: readonly NodeProto[],
  outputs: readonly ValueInfoProto[],
): NodeProto[] {
  const values = new Set(outputs.map(({ name }) => name));
  const kept = nodes.toReversed().filter(({ input, output }) => {
    const isNeeded = output.some((name) => values.has(name));
    if (isNeeded) { for (const name of input) values.add(name); }
    return isNeeded;
  });
  return kept.reverse();
}

/**
 * A graph of what was written, as far as its outputs need it: a gradient does
 * not need the output of the layer.
 */
export function graphOf(
  { writer, layer, variables }: TrainingGraph,
  { inputs, outputs }: GraphEnds,
  { state, irVersion }: GraphPlan,
): GraphProto {
  const node = needed(writer.nodes, outputs);
  const used = new Set(node.flatMap(({ input }) => input));
  const wanted = variables.filter(({ name }) => used.has(name));
  const isInput = state === "inputs";
  if (!isInput) {
    for (const { name, value } of wanted) writer.initializer(name, value);
  }
  const initializer = writer.initializers.filter(({ name }) => used.has(name));
  const listed = irVersion < CONSTANT_IR_VERSION ? initializer : [];
  return {
    name: layer.name,
    node,
    initializer,
    input: [
      ...inputs,
      ...(isInput ? wanted : []).map(({ name, value }) => ({
        name,
        elemType: DataType[value.type],
        shape: value.dims,
      })),
      ...listed.map(({ name, dims, dataType }) => ({
        name,
        elemType: dataType,
        shape: dims,
      })),
    ],
    output: outputs,
  };
}

/** The inputs of a layer's call in training, variables apart. */
export function batchInputs(
  { layer, extents }: TrainingGraph,
  shape: readonly (number | string)[],
  { x, mask, trains }: { x: string; mask: boolean; trains: boolean },
): ValueInfoProto[] {
  const elemType = DataType[layer.options.dtype.compute];
  const inputs: ValueInfoProto[] = [{ name: x, elemType, shape }];
  if (mask) {
    inputs.push({ name: "mask", elemType, shape: shape.slice(0, -1) });
  }
  // Inference does not use one.
  if (trains && layer.options.adjustment) {
    for (const name of ["adjustment_scale", "adjustment_bias"]) {
      // Any shape of this rank that broadcasts to the input.
      const dims = extents.map((_, d) => `${layer.name}/${name}_d${d}`);
      inputs.push({ name, elemType, shape: dims });
    }
  }
  return inputs;
}
