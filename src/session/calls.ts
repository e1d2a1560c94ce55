/**
 * The nodes of a model in one list: functions that the model defines are put
 * in the place of their calls.
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../errors.ts";
import { OPSET_IR_VERSION } from "../onnx/versions.ts";
import type {
  AttributeView,
  Body,
  FunctionView,
  ModelView,
  NodeView,
} from "../onnx/view.ts";

/** A node with its values as numbers. */
export interface NodeCall {
  readonly opType: string;
  readonly domain: string;
  /** The node's attributes; in a function, with those of the call. */
  readonly attributes: ReadonlyMap<string, AttributeView>;
  /** `node "bn" (BatchNormalization)`, for messages. */
  readonly label: string;
  /** The version of ONNX' own operators. */
  readonly opset: number;
  /** Values, -1 where left out. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/**
 * The most nodes that functions may make: one that calls another twice, which
 * calls another twice, and so on, makes 2^50 of a small file.
 */
const MOST_NODES = 100_000;
/**
 * The most inputs, outputs and attributes that calls of functions may make:
 * ten for each of the nodes. A function of 1 MB that a file of 1 MB calls
 * 30 000 times would make 30 GB.
 */
const MOST_NAMES = 1_000_000;
/** The deepest that functions may call each other. */
const DEEPEST_CALL = 64;

interface Scope {
  readonly ids: Map<string, number>;
  readonly opset: number;
  /** The attributes of the call; undefined in the graph. */
  readonly call: ReadonlyMap<string, AttributeView> | undefined;
  /** Where a node stands, for messages: "" or `in function "f"`. */
  readonly where: string;
  readonly depth: number;
}

/** The name of an output that a node leaves out. */
const NONE = -1;

/**
 * Collects the nodes of a model's graph.
 *
 * @param model The model.
 * @param ids The graph's inputs and initializers; receives all other values.
 *
 * @throws {FormatError} If a value is made twice or by no one, or functions
 * call each other without end.
 * @throws {UnsupportedError} If a function has defaults of attributes.
 */
export function collectCalls(
  model: ModelView,
  ids: Map<string, number>,
): { calls: NodeCall[]; valueCount: number } {
  const collector = new Collector(model, ids.size);
  collector.collect(model.graph, {
    ids,
    opset: graphOpset(model),
    call: undefined,
    where: "",
    depth: 0,
  });
  return { calls: collector.calls, valueCount: collector.valueCount };
}

/** The version of ONNX' own operators; the first files did not tell it. */
function graphOpset({ opsets, irVersion, graph }: ModelView): number {
  const opset = opsets.get("");
  if (opset !== undefined) return opset;
  if (irVersion < OPSET_IR_VERSION) return 1;
  if (graph.nodes.some(({ domain }) => domain === "")) {
    throw new FormatError(
      "Cannot load the model: it does not tell its version of ONNX' operators",
    );
  }
  return 1;
}

function keyOf(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

class Collector {
  readonly calls: NodeCall[] = [];
  valueCount: number;
  readonly #functions = new Map<string, FunctionView>();
  // What is found once for each node and function of the file, not for each
  // call: names may be long, and functions large.
  readonly #called = new Map<NodeView, FunctionView | undefined>();
  readonly #sizes = new Map<FunctionView, number>();
  #count = 0;
  #names = 0;

  constructor(model: ModelView, valueCount: number) {
    this.valueCount = valueCount;
    for (const each of model.functions) {
      const key = keyOf(each.domain, each.name, each.overload);
      if (this.#functions.has(key)) {
        throw new FormatError(
          `Cannot load the model: it defines the function "${each.name}" twice`,
        );
      }
      this.#functions.set(key, each);
    }
  }

  collect(body: Body, scope: Scope): void {
    // All outputs first: nodes may stand in any order.
    body.nodes.forEach((node, i) => {
      for (const name of node.outputs) {
        if (name === "") continue;
        if (scope.ids.has(name)) {
          throw new FormatError(
            `Cannot load the model: ${
              labelOf(node, i, scope)
            } makes "${name}", which is the name of another value`,
          );
        }
        scope.ids.set(name, this.valueCount++);
      }
    });
    body.nodes.forEach((node, i) => this.#add(node, i, scope));
  }

  #add(node: NodeView, index: number, scope: Scope): void {
    const label = labelOf(node, index, scope);
    if (++this.#count > MOST_NODES) {
      throw new UnsupportedError(
        `Cannot load the model: it has more than ${MOST_NODES} nodes`,
      );
    }
    const inputs = node.inputs.map((name) => {
      if (name === "") return NONE;
      const id = scope.ids.get(name);
      if (id === undefined) {
        throw new FormatError(
          `Cannot load ${label}: nothing makes its input "${name}"`,
        );
      }
      return id;
    });
    const outputs = node.outputs.map((name) =>
      name === "" ? NONE : scope.ids.get(name)!
    );
    const attributes = resolveAttributes(node, scope);
    const called = this.#functionOf(node);
    if (called) {
      this.#inline(called, { label, inputs, outputs, attributes }, scope);
      return;
    }
    const { opType, domain } = node;
    const { opset } = scope;
    this.calls.push({
      opType,
      domain,
      attributes,
      label,
      opset,
      inputs,
      outputs,
    });
  }

  /** The function that a node calls; undefined if it is an operator. */
  #functionOf(node: NodeView): FunctionView | undefined {
    if (this.#called.has(node)) return this.#called.get(node);
    const { domain, opType, overload } = node;
    const called = this.#functions.get(keyOf(domain, opType, overload));
    this.#called.set(node, called);
    return called;
  }

  /** Counts what one more call of a function makes. */
  #countCall(called: FunctionView, label: string): void {
    const size = this.#sizes.get(called) ?? sizeOf(called);
    this.#sizes.set(called, size);
    this.#names += size;
    if (this.#names > MOST_NAMES) {
      throw new UnsupportedError(
        `Cannot load ${label}: with it, calls of functions make more than ${MOST_NAMES} inputs, outputs and attributes`,
      );
    }
  }

  #inline(
    called: FunctionView,
    { label, inputs, outputs, attributes }: Omit<
      NodeCall,
      "opType" | "domain" | "opset"
    >,
    scope: Scope,
  ): void {
    const { name } = called;
    if (scope.depth === DEEPEST_CALL) {
      throw new FormatError(
        `Cannot load ${label}: functions call each other more than ${DEEPEST_CALL} deep`,
      );
    }
    this.#countCall(called, label);
    if (called.defaults.size > 0) {
      throw new UnsupportedError(
        `Cannot load ${label}: its function has defaults of attributes`,
      );
    }
    if (
      inputs.length > called.inputs.length ||
      outputs.length > called.outputs.length
    ) {
      throw new FormatError(
        `Cannot load ${label}: it has ${inputs.length} inputs and ${outputs.length} outputs, its function ${called.inputs.length} and ${called.outputs.length}`,
      );
    }
    const ids = new Map<string, number>();
    called.inputs.forEach((input, i) => ids.set(input, inputs[i] ?? NONE));
    const inner: Scope = {
      ids,
      opset: called.opsets.get("") ?? scope.opset,
      call: attributes,
      where: `${scope.where} in function "${name}"`,
      depth: scope.depth + 1,
    };
    this.collect(called, inner);
    called.outputs.forEach((output, i) => {
      const id = outputs[i] ?? NONE;
      if (id === NONE) return;
      const made = ids.get(output) ?? NONE;
      if (made === NONE) {
        throw new FormatError(
          `Cannot load ${label}: no node of its function makes "${output}"`,
        );
      }
      this.calls.push({
        opType: "Identity",
        domain: "",
        attributes: new Map(),
        label,
        opset: inner.opset,
        inputs: [made],
        outputs: [id],
      });
    });
  }
}

/** The inputs, outputs and attributes of a function and its nodes. */
function sizeOf({ inputs, outputs, nodes }: FunctionView): number {
  return nodes.reduce(
    (sum, node) =>
      sum + node.inputs.length + node.outputs.length + node.attributes.size,
    inputs.length + outputs.length,
  );
}

/** `node "bn" (BatchNormalization)`. */
function labelOf(node: NodeView, index: number, { where }: Scope): string {
  const type = node.domain === ""
    ? node.opType
    : `${node.domain}.${node.opType}`;
  return `node ${
    node.name === "" ? index : `"${node.name}"`
  } (${type})${where}`;
}

/** The attributes of a node, those that refer to the call's replaced. */
function resolveAttributes(
  { attributes }: NodeView,
  { call }: Scope,
): ReadonlyMap<string, AttributeView> {
  if (!call) return attributes;
  const resolved = new Map<string, AttributeView>();
  for (const [name, attribute] of attributes) {
    const { refAttrName } = attribute;
    const value = refAttrName === undefined ? attribute : call.get(refAttrName);
    if (value) resolved.set(name, value);
  }
  return resolved;
}
