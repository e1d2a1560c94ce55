/**
 * Which BatchNormalizations can be folded, and into what.
 *
 * @module
 */

import { affineOf } from "./affine.ts";
import type { Refused } from "./constants.ts";
import { type Linear, linearOf } from "./linear.ts";
import { type Path, pathDown, pathUp, type Search } from "./path.ts";
import {
  takeAfter,
  takeBefore,
  type Target,
  targetOf,
  type Weights,
  weightsOf,
} from "./target.ts";
import type { FoundNode } from "../find.ts";
import type { OpenModel } from "../open.ts";
import type { NodeView } from "../view.ts";

/** Whether a node goes up, into the operator that gives its input, or down. */
export type Direction = "up" | "down";

/** A BatchNormalization that goes. */
export interface PlannedFold {
  readonly found: FoundNode;
  readonly direction: Direction;
  readonly path: Path;
}

/** All that folding a model changes. */
export interface FoldPlan {
  /** By the BatchNormalization's node. */
  readonly folds: ReadonlyMap<NodeView, PlannedFold>;
  /** The operators that take some in, by their node. */
  readonly targets: ReadonlyMap<NodeView, Target & { weights: Weights }>;
  /** Why the others stay. */
  readonly kept: readonly { readonly found: FoundNode; reason: string }[];
}

/** Takes one node into an operator, if it may. */
function attempt(
  search: Search,
  targets: Map<NodeView, Target & { weights: Weights }>,
  found: FoundNode,
  direction: Direction,
): PlannedFold | Refused {
  const affine = affineOf(search.open, found);
  if ("reason" in affine) return affine;
  const path = direction === "up"
    ? pathUp(search, found)
    : pathDown(search, found);
  if ("reason" in path) return path;
  const { linear, adders } = path;
  const channels = direction === "up" ? linear.channelsOut : linear.channelsIn;
  if (affine.scale.length !== channels) {
    return {
      reason:
        `it has ${affine.scale.length} channels, the ${linear.node.opType} next to it ${channels}`,
    };
  }
  const old = targets.get(linear.node) ?? targetOf(linear);
  const target = direction === "up"
    ? takeAfter(old, affine, adders)
    : takeBefore(old, affine);
  const weights = weightsOf(target);
  if ("reason" in weights) return weights;
  targets.set(linear.node, { ...target, weights });
  return { found, direction, path };
}

/** Why neither neighbour takes a node. */
function reasonOf(up: Refused, down: Refused): string {
  return up.reason === down.reason ? up.reason : `${up.reason}; ${down.reason}`;
}

/**
 * Plans the folding of a model.
 *
 * A node goes into the operator that gives its input, or else into the one
 * that takes its output. Those that go make way for others, so that all are
 * tried again until nothing changes.
 */
export function planFolds(open: OpenModel): FoldPlan {
  const folds = new Map<NodeView, PlannedFold>();
  const targets = new Map<NodeView, Target & { weights: Weights }>();
  const linears = new Map<NodeView, Linear | Refused>();
  const search: Search = {
    open,
    isFolded: (node) => folds.has(node),
    linearOf(scope, node) {
      const linear = linears.get(node) ?? linearOf(open, scope, node);
      linears.set(node, linear);
      return linear;
    },
  };
  if (open.view.trainingInfo.length > 0) {
    const reason =
      "the model has training information, which refers to its constants by name";
    return {
      folds,
      targets,
      kept: open.nodes.map((found) => ({ found, reason })),
    };
  }
  let left = [...open.nodes];
  for (;;) {
    const kept: { found: FoundNode; reason: string }[] = [];
    for (const found of left) {
      const up = attempt(search, targets, found, "up");
      if (!("reason" in up)) {
        folds.set(found.node, up);
        continue;
      }
      const down = attempt(search, targets, found, "down");
      if ("reason" in down) {
        kept.push({ found, reason: reasonOf(up, down) });
      } else {
        folds.set(found.node, down);
      }
    }
    if (kept.length === left.length) return { folds, targets, kept };
    left = kept.map(({ found }) => found);
  }
}
