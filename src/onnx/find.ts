/**
 * Every BatchNormalization in a model, with its parameters.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 *
 * @module
 */

import { attributeValue } from "./attribute_values.ts";
import {
  type FloatConstant,
  floatConstant,
  type NoConstant,
} from "./constants.ts";
import type { ExternalData } from "./external_data.ts";
import { nodeName, type Scope, type Scopes } from "./scopes.ts";
import {
  IS_TEST_REMOVAL_OPSET,
  SPATIAL_REMOVAL_OPSET,
  TRAINING_MODE_OPSET,
} from "./versions.ts";
import type { NodeView } from "./view.ts";

/** A vector of a BatchNormalization: `scale`, `B`, `input_mean`, `input_var` in ONNX. */
export type Role = "gamma" | "beta" | "mean" | "variance";

/** The vectors in the order of the operator's inputs. */
export const ROLES: readonly Role[] = ["gamma", "beta", "mean", "variance"];

/** One vector of a BatchNormalization, or why it is not known. */
export type Parameter = FloatConstant | NoConstant;

/** A BatchNormalization of a model, and where it stands. */
export interface FoundNode {
  /** A name that no other one has. */
  readonly name: string;
  readonly scope: Scope;
  readonly node: NodeView;
  /** NaN where the model does not tell: an attribute of a function that its calls give different values. */
  readonly epsilon: number;
  readonly momentum: number;
  /** Undefined where the model does not tell, as with `epsilon`. */
  readonly trainingMode: boolean | undefined;
  /** False for opsets 1 to 8 with `spatial` 0: statistics of each element of a sample. */
  readonly spatial: boolean;
  readonly parameters: Readonly<Record<Role, Parameter>>;
}

/** Operators' defaults, of every opset. */
const DEFAULTS = { epsilon: 1e-5, momentum: 0.9 };

/** A number attribute, as the file's float32. */
function numberOf(
  scope: Scope,
  node: NodeView,
  name: "epsilon" | "momentum",
): number {
  return attributeValue(
    scope,
    node,
    name,
    (attribute) => attribute ? attribute.f ?? 0 : Math.fround(DEFAULTS[name]),
  ) ?? NaN;
}

function flag(
  scope: Scope,
  node: NodeView,
  name: string,
  byDefault: boolean,
): boolean | undefined {
  return attributeValue(scope, node, name, (attribute) => {
    const value = attribute?.i;
    return value === undefined ? byDefault : value !== 0n;
  });
}

/**
 * Whether a node normalizes with the batch's statistics: `is_test` told so
 * before opset 7, the number of outputs before 14, `training_mode` since.
 */
function isTraining(scope: Scope, node: NodeView): boolean | undefined {
  const { opset } = scope;
  if (opset >= TRAINING_MODE_OPSET) {
    return flag(scope, node, "training_mode", false);
  }
  if (opset >= IS_TEST_REMOVAL_OPSET) {
    return node.outputs.slice(1).some((name) => name !== "");
  }
  const isTest = flag(scope, node, "is_test", false);
  return isTest === undefined ? undefined : !isTest;
}

function parameterOf(
  scope: Scope,
  input: string,
  external: ExternalData | undefined,
): Parameter {
  return input === ""
    ? { reason: "the node has no such input" }
    : floatConstant(scope, input, external);
}

function findNode(
  scope: Scope,
  node: NodeView,
  name: string,
  external: ExternalData | undefined,
): FoundNode {
  // X is the first input.
  const [gamma, beta, mean, variance] = ROLES.map((_, i) =>
    parameterOf(scope, node.inputs[i + 1] ?? "", external)
  );
  return {
    name,
    scope,
    node,
    epsilon: numberOf(scope, node, "epsilon"),
    momentum: numberOf(scope, node, "momentum"),
    trainingMode: isTraining(scope, node),
    spatial: scope.opset >= SPATIAL_REMOVAL_OPSET ||
      (flag(scope, node, "spatial", true) ?? false),
    parameters: {
      gamma: gamma!,
      beta: beta!,
      mean: mean!,
      variance: variance!,
    },
  };
}

/**
 * Finds every BatchNormalization of ONNX' own domain: in the graph, in its
 * subgraphs and in the model's functions.
 *
 * @param scopes The model's values.
 * @param external Where elements in other files come from.
 * @returns The nodes, in the file's order, those of subgraphs after their
 * graph's. A name is the node's, or its first output's if it has none, behind
 * the path of its subgraph or function, with `#2` and so on if it is taken.
 */
export function findNodes(
  { all }: Scopes,
  external: ExternalData | undefined,
): FoundNode[] {
  const found: FoundNode[] = [];
  const taken = new Set<string>();
  const next = new Map<string, number>();
  for (const scope of all) {
    for (const node of scope.body.nodes) {
      if (node.opType !== "BatchNormalization" || node.domain !== "") continue;
      const wanted = scope.path + nodeName(node);
      let name = wanted;
      while (taken.has(name)) {
        const number = next.get(wanted) ?? 2;
        name = `${wanted}#${number}`;
        next.set(wanted, number + 1);
      }
      taken.add(name);
      found.push(findNode(scope, node, name, external));
    }
  }
  return found;
}
