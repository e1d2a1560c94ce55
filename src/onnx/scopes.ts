/**
 * Who makes each value of a model, and who uses it: in the graph, in the
 * subgraphs of If, Loop and Scan, which see the values around them, and in the
 * model's functions, which do not.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import { FreshNames } from "./fresh_names.ts";
import type { TensorView } from "./tensor_view.ts";
import type { FunctionView, GraphView, ModelView, NodeView } from "./view.ts";

/** Where a value comes from. */
export type Origin =
  | { readonly kind: "initializer"; readonly tensor: TensorView }
  | { readonly kind: "sparse" }
  | { readonly kind: "input"; readonly position: number }
  | {
    readonly kind: "node";
    readonly node: NodeView;
    readonly position: number;
  };

/** A use of a value as the input of a node. */
export interface NodeUse {
  readonly kind: "node";
  readonly scope: Scope;
  readonly node: NodeView;
  readonly position: number;
}

/** One use of a value: as the input of a node, or as an output of its graph. */
export type Use =
  | NodeUse
  | {
    readonly kind: "output";
    readonly scope: Scope;
    readonly position: number;
  };

/** One value. */
export interface Value {
  readonly name: string;
  /** The graph or function that defines it. */
  readonly scope: Scope;
  readonly origin: Origin;
  /** Whether callers may give it another value than its initializer. */
  readonly isInput: boolean;
  /** All uses, those in subgraphs included. */
  readonly uses: Use[];
}

/** A graph or function, with its values. */
export interface Scope {
  readonly body: GraphView | FunctionView;
  /** The graph around a subgraph. */
  readonly parent: Scope | undefined;
  /**
   * What stands before a node's name to tell it from those in other bodies:
   * `""` for the main graph, `loop/body/` for a subgraph, `Block/` for a
   * function.
   */
  readonly path: string;
  /** The version of ONNX' own operators. */
  readonly opset: number;
  readonly values: Map<string, Value>;
  /** The nodes that call it, if it is a function. */
  readonly calls: { readonly scope: Scope; readonly node: NodeView }[];
}

/** All scopes of a model. */
export interface Scopes {
  readonly main: Scope;
  /** The main graph first, each graph before its subgraphs, functions last. */
  readonly all: readonly Scope[];
  /** The names of values anywhere, so that a new one meets none. */
  readonly names: FreshNames;
}

/** The name to call a node in messages and keys. */
export function nodeName({ name, outputs, opType }: NodeView): string {
  return name || outputs.find((output) => output !== "") || opType;
}

/** The value of a name as a scope sees it; undefined if nothing gives it. */
export function valueOf(scope: Scope, name: string): Value | undefined {
  for (let at: Scope | undefined = scope; at; at = at.parent) {
    const value = at.values.get(name);
    if (value) return value;
  }
  return undefined;
}

function functionKey(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

function define(
  scope: Scope,
  name: string,
  origin: Origin,
  isInput: boolean,
): void {
  if (scope.values.has(name)) {
    throw new FormatError(
      `Cannot read the ONNX model: the value "${name}" is defined twice`,
    );
  }
  scope.values.set(name, { name, scope, origin, isInput, uses: [] });
}

function defineValues(scope: Scope): void {
  const { body } = scope;
  const inputs = body.kind === "graph"
    ? body.inputs.map(({ name }) => name)
    : body.inputs;
  const initializers = body.kind === "graph" ? body.initializers : new Map();
  inputs.forEach((name, position) => {
    const tensor = initializers.get(name);
    define(
      scope,
      name,
      tensor ? { kind: "initializer", tensor } : { kind: "input", position },
      true,
    );
  });
  if (body.kind === "graph") {
    for (const [name, tensor] of body.initializers) {
      if (!scope.values.get(name)?.isInput) {
        define(scope, name, { kind: "initializer", tensor }, false);
      }
    }
    for (const name of body.sparse) {
      if (!scope.values.has(name)) {
        define(scope, name, { kind: "sparse" }, false);
      }
    }
  }
  for (const node of body.nodes) {
    node.outputs.forEach((name, position) => {
      if (name === "") return;
      define(scope, name, { kind: "node", node, position }, false);
    });
  }
}

function recordUses(scope: Scope): void {
  const { body } = scope;
  for (const node of body.nodes) {
    node.inputs.forEach((name, position) => {
      if (name === "") return;
      valueOf(scope, name)?.uses.push({ kind: "node", scope, node, position });
    });
  }
  body.outputs.forEach((output, position) => {
    const name = typeof output === "string" ? output : output.name;
    valueOf(scope, name)?.uses.push({ kind: "output", scope, position });
  });
}

/** The subgraphs of a node, with the attribute that each is in. */
export function subgraphsOf(
  node: NodeView,
): { readonly name: string; readonly graph: GraphView }[] {
  return [...node.attributes.values()].flatMap(({ name, g, graphs }) => [
    ...(g ? [{ name, graph: g }] : []),
    ...graphs.map((graph, i) => ({ name: `${name}_${i}`, graph })),
  ]);
}

/** The names of values in a graph of training information. */
function* namesIn(graph: GraphView | undefined): Generator<string> {
  if (!graph) return;
  yield* graph.initializers.keys();
  for (const { name } of graph.inputs) yield name;
  for (const { outputs } of graph.nodes) yield* outputs;
}

/**
 * Finds the values of a model, and their uses.
 *
 * @throws {FormatError} If a value is defined twice in one graph.
 */
export function findScopes(model: ModelView): Scopes {
  const all: Scope[] = [];
  function add(
    body: GraphView | FunctionView,
    parent: Scope | undefined,
    path: string,
    opset: number,
  ): Scope {
    const scope: Scope = {
      body,
      parent,
      path,
      opset,
      values: new Map(),
      calls: [],
    };
    all.push(scope);
    defineValues(scope);
    for (const node of body.nodes) {
      for (const { name, graph } of subgraphsOf(node)) {
        add(graph, scope, `${path}${nodeName(node)}/${name}/`, opset);
      }
    }
    return scope;
  }
  const opset = model.opsets.get("") ?? 1;
  const main = add(model.graph, undefined, "", opset);
  const functions = new Map<string, Scope>();
  for (const body of model.functions) {
    const { domain, name, overload } = body;
    functions.set(
      functionKey(domain, name, overload),
      add(body, undefined, `${name}/`, body.opsets.get("") ?? opset),
    );
  }
  const names = new Set<string>();
  for (const { initialization, algorithm } of model.trainingInfo) {
    for (const name of namesIn(initialization)) names.add(name);
    for (const name of namesIn(algorithm)) names.add(name);
  }
  for (const scope of all) {
    recordUses(scope);
    for (const name of scope.values.keys()) names.add(name);
    for (const node of scope.body.nodes) {
      const { domain, opType, overload } = node;
      functions.get(functionKey(domain, opType, overload))?.calls.push({
        scope,
        node,
      });
    }
  }
  return { main, all, names: new FreshNames(names) };
}
