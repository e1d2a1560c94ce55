/**
 * A model as a list of nodes in an order in which they can run.
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../errors.ts";
import type { Kernels } from "../kernels/types.ts";
import { elementTypeOf, type OnnxType } from "../onnx/element_types.ts";
import type { ExternalData } from "../onnx/external_data.ts";
import { readTensor } from "../onnx/tensor_view.ts";
import { CONSTANT_IR_VERSION } from "../onnx/versions.ts";
import type { GraphView, ModelView, ValueView } from "../onnx/view.ts";
import { collectCalls, type NodeCall } from "./calls.ts";
import { joinTransposes } from "./join_transposes.ts";
import { loadOperator } from "./load_operator.ts";
import type { Specialize } from "./ops/operator.ts";
import { sortCalls } from "./sort_calls.ts";
import { countOf, type Spec } from "./values.ts";

/** A graph's input or output. */
export interface Port {
  readonly name: string;
  /** Its value. */
  readonly id: number;
  /** Undefined for outputs of which the model does not tell it. */
  readonly type: OnnxType | undefined;
  /** Numbers, names, or null for extents not told; undefined without rank. */
  readonly shape: readonly (number | string | null)[] | undefined;
}

/** An input. */
export interface InputPort extends Port {
  readonly type: OnnxType;
}

/** A node, ready to be planned. */
export interface ProgramNode {
  /** `node "bn" (BatchNormalization)`, for messages. */
  readonly label: string;
  /** Values, -1 where left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly specialize: Specialize;
}

/** A model, checked and ordered. */
export interface Program {
  readonly nodes: readonly ProgramNode[];
  /** Values are numbers below this. */
  readonly valueCount: number;
  /** The inputs that every run must feed. */
  readonly inputs: readonly InputPort[];
  /** The inputs that have a value in the model, which a run may replace. */
  readonly defaults: readonly InputPort[];
  readonly outputs: readonly Port[];
  readonly constants: ReadonlyMap<number, Spec>;
}

function inputPort(value: ValueView, id: number): InputPort {
  const { name, elemType, shape } = value;
  const type = elemType === undefined ? undefined : elementTypeOf(elemType);
  if (!type) {
    throw new UnsupportedError(
      `Cannot load the model: expected input "${name}" to be a tensor of numbers, got ${
        elemType === undefined ? "none" : `elements of type ${elemType}`
      }`,
    );
  }
  for (const extent of shape ?? []) {
    if (typeof extent === "number" && extent < 0) {
      throw new FormatError(
        `Cannot load the model: input "${name}" has the extent ${extent}`,
      );
    }
  }
  return { name, id, type: type.name, shape };
}

/** Gives every name of the graph a number, once. */
class Names {
  readonly ids = new Map<string, number>();

  define(name: string, what: string): number {
    if (this.ids.has(name)) {
      throw new FormatError(
        `Cannot load the model: ${what} "${name}" has the name of another value`,
      );
    }
    const id = this.ids.size;
    this.ids.set(name, id);
    return id;
  }
}

/**
 * Checks a model and puts its nodes in order.
 *
 * @param model The model.
 * @param external Where the elements of tensors in other files come from.
 * @param kernels The kernels to run on.
 *
 * @throws {FormatError} If the graph has a cycle, a value that nothing makes
 * or two things make, or a node is not what its operator says.
 * @throws {UnsupportedError} If it has an operator that the session has not.
 */
export function loadProgram(
  model: ModelView,
  external: ExternalData | undefined,
  kernels: () => Kernels,
): Program {
  const { graph } = model;
  const names = new Names();
  const inputs: InputPort[] = [];
  const defaults: InputPort[] = [];
  for (const value of graph.inputs) {
    const id = names.define(value.name, "input");
    const isDefault = graph.initializers.has(value.name);
    if (!isDefault) inputs.push(inputPort(value, id));
    // Before, constants were inputs too.
    else if (model.irVersion >= CONSTANT_IR_VERSION) {
      defaults.push(inputPort(value, id));
    }
  }
  const listed = new Set(graph.inputs.map(({ name }) => name));
  for (const name of graph.initializers.keys()) {
    if (!listed.has(name)) names.define(name, "initializer");
  }
  const { calls, valueCount } = collectCalls(model, names.ids);
  const nodes = sortCalls(calls).map((call) =>
    loadOperator(call, external, kernels)
  );
  const outputs = outputPorts(graph, names.ids);
  const live = liveNodes(nodes.map(({ call }) => call), outputs);
  const joined = joinTransposes(
    nodes.filter((_, i) => live[i]),
    new Set(outputs.map(({ id }) => id)),
  );
  return {
    nodes: joined,
    valueCount,
    inputs,
    defaults,
    outputs,
    constants: readConstants(graph, names.ids, joined, outputs, external),
  };
}

function outputPorts(
  graph: GraphView,
  ids: ReadonlyMap<string, number>,
): Port[] {
  const seen = new Set<string>();
  return graph.outputs.map(({ name, elemType, shape }) => {
    const id = ids.get(name);
    if (id === undefined) {
      throw new FormatError(
        `Cannot load the model: no node makes its output "${name}"`,
      );
    }
    if (seen.has(name)) {
      throw new FormatError(
        `Cannot load the model: it has two outputs "${name}"`,
      );
    }
    seen.add(name);
    const type = elemType === undefined ? undefined : elementTypeOf(elemType);
    return { name, id, type: type?.name, shape };
  });
}

/** Which nodes an output depends on. */
function liveNodes(
  calls: readonly NodeCall[],
  outputs: readonly Port[],
): boolean[] {
  const needed = new Set(outputs.map(({ id }) => id));
  const live = calls.map(() => false);
  for (let i = calls.length - 1; i >= 0; i--) {
    const call = calls[i]!;
    if (!call.outputs.some((id) => needed.has(id))) continue;
    live[i] = true;
    for (const id of call.inputs) needed.add(id);
  }
  return live;
}

/** The initializers that are used. */
function readConstants(
  graph: GraphView,
  ids: ReadonlyMap<string, number>,
  nodes: readonly ProgramNode[],
  outputs: readonly Port[],
  external: ExternalData | undefined,
): Map<number, Spec> {
  const used = new Set([
    ...nodes.flatMap(({ inputs }) => inputs),
    ...outputs.map(({ id }) => id),
  ]);
  const constants = new Map<number, Spec>();
  for (const [name, view] of graph.initializers) {
    const id = ids.get(name)!;
    if (!used.has(id)) continue;
    const { type, dims, data } = readTensor(view, external);
    countOf(dims);
    constants.set(id, { type, dims, value: data });
  }
  return constants;
}
