/**
 * BatchNormalization in TensorFlow.js graph models, which have no layers any
 * more: operators of TensorFlow, and what is left of those that the converter
 * replaced.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { KerasVersion } from "../../layer/keras_version.ts";
import type { WeightName } from "../../layer/weights.ts";
import type { FileVariable } from "../contents/contents.ts";
import { type Found, NOTHING_FOUND } from "../contents/found.ts";

/**
 * TensorFlow's operator uses the epsilon that it is given; a release of Keras
 * that has a least one has given it that.
 */
export const GRAPH_FOLLOWS: KerasVersion = "2.12";

/** The operators; their inputs are x, and these. */
const OPERATORS = ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"];
const INPUTS: readonly WeightName[] = [
  "gamma",
  "beta",
  "moving_mean",
  "moving_variance",
];

/** What TensorFlow takes where the node says nothing. */
const DEFAULT_EPSILON = 1e-4;
const DEFAULT_FORMAT = "NHWC";

/** What Keras calls its operator, or for other ranks the group of operators, in a layer's scope. */
const IN_LAYER =
  /^(.+?)\/((?:FusedBatchNorm(?:V\d)?|batchnorm)(?:_\d+)?)(?:\/[^/]+)?$/;

/** The call in which a SavedModel has everything. */
const CALLS = /^((Stateful)?PartitionedCall(_\d+)?\/)+/;

/** Operators that hand on what they get. */
const PASSING = ["Identity", "StopGradient"];

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: Readonly<Record<string, unknown>>;
}

function readNode(value: unknown): GraphNode | undefined {
  if (!isObject(value)) return undefined;
  const { name, op, input, attr } = value;
  if (typeof name !== "string" || typeof op !== "string") return undefined;
  const isInput = (each: unknown): each is string =>
    typeof each === "string" && !each.startsWith("^");
  return {
    name,
    op,
    input: Array.isArray(input) ? input.filter(isInput) : [],
    attr: isObject(attr) ? attr : {},
  };
}

/** The nodes of a topology, those of its functions included. */
function readNodes(topology: unknown): GraphNode[] {
  if (!isObject(topology)) return [];
  const lists = [topology.node];
  const { library } = topology;
  if (isObject(library) && Array.isArray(library.function)) {
    for (const each of library.function) {
      if (isObject(each)) lists.push(each.nodeDef);
    }
  }
  return lists.flatMap((list) => Array.isArray(list) ? list : [])
    .map(readNode).filter((node) => node !== undefined);
}

function attribute(node: GraphNode, name: string, field: string): unknown {
  const value = Object.hasOwn(node.attr, name) ? node.attr[name] : undefined;
  return isObject(value) ? value[field] : undefined;
}

/** A text; protobuf's JSON has bytes in base64. */
function textOf(value: unknown): string | undefined {
  if (typeof value !== "string") return undefined;
  if (/^N[DHWC]+$/.test(value)) return value;
  try {
    return atob(value);
  } catch {
    return undefined;
  }
}

/** The names of a scope, without those that are not the model's. */
function pathOf(scope: string): string[] {
  return scope.replace(CALLS, "").split("/");
}

/** What the converter has made of a layer's operator. */
function whyNot(own: GraphNode | undefined): string {
  const isConvolution = own !== undefined &&
    /Conv2D|Conv3D|BiasAdd/.test(own.op);
  return isConvolution
    ? `the converter has folded it into the convolution before it (${own.op} ${own.name}): its variables are in the file no more`
    : "the converter has folded its variables into a factor and a summand: the mean and the variance are in the file no more";
}

/** The layer that a name is in, and whether it is the operator itself. */
function placeOf(name: string): { scope: string; isOwn: boolean } | undefined {
  const match = IN_LAYER.exec(name);
  if (!match) return undefined;
  const [, scope, operator] = match;
  return { scope: scope!, isOwn: name === `${scope}/${operator}` };
}

class Graph {
  readonly #nodes: readonly GraphNode[];
  readonly #byName: ReadonlyMap<string, GraphNode>;
  readonly #variables: ReadonlyMap<string, FileVariable>;

  constructor(
    nodes: readonly GraphNode[],
    variables: ReadonlyMap<string, FileVariable>,
  ) {
    this.#nodes = nodes;
    this.#byName = new Map(nodes.map((node) => [node.name, node]));
    this.#variables = variables;
  }

  /** The weight behind an input; undefined if it is computed. */
  #weight(input: string | undefined): FileVariable | undefined {
    let name = input?.replace(/:.*$/, "");
    // No longer than the graph, as nodes can pass on to each other for ever.
    for (let left = this.#nodes.length; left > 0; left--) {
      if (name === undefined) return undefined;
      const node = this.#byName.get(name);
      if (!node || !PASSING.includes(node.op)) break;
      name = node.input[0]?.replace(/:.*$/, "");
    }
    return name === undefined ? undefined : this.#variables.get(name);
  }

  #operator(node: GraphNode): Found {
    const scope = placeOf(node.name)?.scope ?? node.name;
    const path = pathOf(scope);
    const roles = new Map<WeightName, FileVariable>();
    INPUTS.forEach((role, i) => {
      const weight = this.#weight(node.input[i + 1]);
      if (weight) roles.set(role, weight);
    });
    const common = {
      ...NOTHING_FOUND,
      name: path.at(-1)!,
      path,
      className: node.op,
      location: node.name,
      variables: [...roles.values()],
    };
    const missing = INPUTS.filter((role) => !roles.has(role));
    const reason = attribute(node, "is_training", "b") === true
      ? "it normalizes by the batch's own statistics (is_training)"
      : missing.length > 0
      ? `its ${missing.join(", ")} are no weights, but computed`
      : undefined;
    if (reason !== undefined) return { ...common, reason };
    return {
      ...common,
      config: configOf(node, path.at(-1)!),
      roles,
      verdict: "recognized",
      reason: `the operator ${node.op} with all its inputs as weights`,
      flags: { scale: true, center: true, renorm: false },
    };
  }

  *layers(): Generator<Found> {
    const operators = new Set<string>();
    const own = new Map<string, GraphNode>();
    for (const node of this.#nodes) {
      const place = placeOf(node.name);
      if (OPERATORS.includes(node.op)) {
        operators.add(place?.scope ?? node.name);
      } else if (place?.isOwn) own.set(place.scope, node);
    }
    const variables = new Map<string, FileVariable[]>();
    for (const [name, variable] of this.#variables) {
      const scope = placeOf(name)?.scope;
      if (scope === undefined) continue;
      const there = variables.get(scope) ?? [];
      there.push(variable);
      variables.set(scope, there);
    }
    const seen = new Set<string>();
    for (const node of this.#nodes) {
      if (OPERATORS.includes(node.op)) {
        yield this.#operator(node);
        continue;
      }
      const scope = placeOf(node.name)?.scope;
      if (
        scope === undefined || seen.has(scope) || operators.has(scope)
      ) continue;
      seen.add(scope);
      const path = pathOf(scope);
      yield {
        ...NOTHING_FOUND,
        name: path.at(-1)!,
        path,
        location: scope,
        variables: variables.get(scope) ?? [],
        reason: whyNot(own.get(scope)),
      };
    }
  }
}

function configOf(node: GraphNode, name: string): KerasConfig {
  const epsilon = attribute(node, "epsilon", "f");
  const format = textOf(attribute(node, "data_format", "s")) ?? DEFAULT_FORMAT;
  return {
    name,
    axis: format.indexOf("C"),
    epsilon: typeof epsilon === "number" ? epsilon : DEFAULT_EPSILON,
  };
}

/**
 * The layers that a graph shows, in the order of its nodes: those that are
 * still an operator, which can be loaded, and those that were replaced, each
 * with the reason why they cannot.
 *
 * @param topology The `modelTopology`.
 * @param variables The weights by name.
 */
export function graphLayers(
  topology: unknown,
  variables: ReadonlyMap<string, FileVariable>,
): Found[] {
  return [...new Graph(readNodes(topology), variables).layers()];
}
