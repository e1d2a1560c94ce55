/**
 * Which BatchNormalizations can be folded, and into what.
 *
 * @module
 */

import { type Affine, affineOf } from "./affine.ts";
import type { Refused } from "./constants.ts";
import { type Linear, linearOf } from "./linear.ts";
import {
  type Blocked,
  type Path,
  pathDown,
  pathUp,
  type Search,
} from "./path.ts";
import { Shapes } from "./shapes.ts";
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
  affine: Affine,
  direction: Direction,
): PlannedFold | Blocked {
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
  // What else the operator takes in may make them fit.
  if ("reason" in weights) return { ...weights, until: linear.node };
  targets.set(linear.node, { ...target, weights });
  return { found, direction, path };
}

/** Why neither neighbour takes a node. */
function reasonOf(up: Refused, down: Refused): string {
  return up.reason === down.reason ? up.reason : `${up.reason}; ${down.reason}`;
}

/** BatchNormalizations that wait for another to go. */
class Waiting {
  readonly #byNode = new Map<NodeView, FoundNode[]>();

  /** Waits for a node to go, or for an operator to change. */
  add(found: FoundNode, { until }: Blocked): void {
    if (!until) return;
    const list = this.#byNode.get(until);
    if (list) list.push(found);
    else this.#byNode.set(until, [found]);
  }

  /** Those for which one that goes makes way. */
  take({ found, path }: PlannedFold): FoundNode[] {
    const nodes = [found.node, path.linear.node];
    const ready = nodes.flatMap((node) => this.#byNode.get(node) ?? []);
    for (const node of nodes) this.#byNode.delete(node);
    return ready;
  }
}

/** The planning of one model. */
class Planner {
  readonly #search: Search;
  readonly #folds = new Map<NodeView, PlannedFold>();
  readonly #targets = new Map<NodeView, Target & { weights: Weights }>();
  readonly #reasons = new Map<FoundNode, string>();
  readonly #waiting = new Waiting();

  constructor(open: OpenModel) {
    const linears = new Map<NodeView, Linear | Refused>();
    this.#search = {
      open,
      shapes: new Shapes(open),
      isFolded: (node) => this.#folds.has(node),
      linearOf(scope, node) {
        const linear = linears.get(node) ?? linearOf(open, scope, node);
        linears.set(node, linear);
        return linear;
      },
    };
  }

  /** Tries one node; gives those that it makes way for. */
  #tryNode(found: FoundNode): FoundNode[] {
    const affine = affineOf(this.#search.open, found);
    if ("reason" in affine) {
      this.#reasons.set(found, affine.reason);
      return [];
    }
    const up = attempt(this.#search, this.#targets, found, affine, "up");
    if (!("reason" in up)) return this.#take(up);
    const down = attempt(this.#search, this.#targets, found, affine, "down");
    if (!("reason" in down)) return this.#take(down);
    this.#reasons.set(found, reasonOf(up, down));
    this.#waiting.add(found, up);
    this.#waiting.add(found, down);
    return [];
  }

  #take(fold: PlannedFold): FoundNode[] {
    this.#folds.set(fold.found.node, fold);
    return this.#waiting.take(fold);
  }

  plan(): FoldPlan {
    const { nodes } = this.#search.open;
    for (let next = nodes; next.length > 0;) {
      const ready = new Set(next.flatMap((found) => this.#tryNode(found)));
      next = [...ready].filter(({ node }) => !this.#folds.has(node));
    }
    const kept = nodes.filter(({ node }) => !this.#folds.has(node))
      .map((found) => ({ found, reason: this.#reasons.get(found)! }));
    return { folds: this.#folds, targets: this.#targets, kept };
  }
}

/**
 * Plans the folding of a model.
 *
 * A node goes into the operator that gives its input, or else into the one
 * that takes its output. Those that go make way for others, which are tried
 * again then, until nothing changes.
 */
export function planFolds(open: OpenModel): FoldPlan {
  if (open.view.trainingInfo.length === 0) return new Planner(open).plan();
  const reason =
    "the model has training information, which refers to its constants by name";
  return {
    folds: new Map(),
    targets: new Map(),
    kept: open.nodes.map((found) => ({ found, reason })),
  };
}
