/**
 * Shapes of which not all is known, as far as following the channels of a
 * value through a Reshape needs them.
 *
 * @module
 */

import type { OpenModel } from "../open.ts";
import { constantRank, integerConstant } from "./constants.ts";
import { Follower, type Step } from "./follow.ts";
import { portsOf } from "./told.ts";
import { type Scope, type Value, valueOf } from "../scopes.ts";
import type { NodeView } from "../view.ts";

/** An extent: a number times extents that only have names. */
export interface Extent {
  readonly factor: number;
  /** Sorted. */
  readonly names: readonly string[];
}

/** An extent that is a number. */
export function known(factor: number): Extent {
  return { factor, names: [] };
}

/** An extent that only has a name, which no other extent may have. */
export function named(name: string): Extent {
  return { factor: 1, names: [name] };
}

/** The product of extents. */
export function productOf(extents: readonly Extent[]): Extent {
  return {
    factor: extents.reduce((product, { factor }) => product * factor, 1),
    names: extents.flatMap(({ names }) => names).sort(),
  };
}

/** Whether two extents are the same whatever their names stand for. */
export function isSame(a: Extent, b: Extent): boolean {
  return a.factor === b.factor && a.names.length === b.names.length &&
    a.names.every((name, i) => name === b.names[i]);
}

/** The quotient of two extents; undefined if it is not known to be one. */
export function quotientOf(a: Extent, b: Extent): Extent | undefined {
  const names = [...a.names];
  for (const name of b.names) {
    const at = names.indexOf(name);
    if (at < 0) return undefined;
    names.splice(at, 1);
  }
  const factor = a.factor / b.factor;
  return Number.isInteger(factor) ? { factor, names } : undefined;
}

/** Operators whose output has the shape of their first input. */
const SAME_SHAPE: ReadonlySet<string> = new Set([
  "BatchNormalization",
  "Cast",
  "Clip",
  "Dropout",
  "Elu",
  "HardSigmoid",
  "Identity",
  "LeakyRelu",
  "Relu",
  "Selu",
  "Sigmoid",
  "Softmax",
  "Softplus",
  "Tanh",
]);

/** A shape as a model tells it. */
type Declared = readonly (number | string | null)[];

/** What a graph tells of a value itself. */
function toldOf(
  { scope: { body }, name, origin }: Value,
): Declared | undefined {
  if (origin.kind === "initializer") return origin.tensor.dims;
  if (body.kind !== "graph") return undefined;
  const { inputs, outputs } = portsOf(body);
  return body.valueInfo.get(name)?.shape ??
    (inputs.get(name) ?? outputs.get(name))?.shape;
}

/** A value's declared shape, or the value whose shape it has. */
function shapeStep(value: Value): Step<Declared> | undefined {
  const answer = toldOf(value);
  if (answer) return { answer };
  const { scope, origin } = value;
  if (origin.kind !== "node" || origin.position > 0) return undefined;
  const { opType, domain, inputs } = origin.node;
  if (domain !== "" || !SAME_SHAPE.has(opType)) return undefined;
  const next = valueOf(scope, inputs[0] ?? "");
  return next && { next };
}

/** What a node tells of its output's rank: the rank, or an input that has it. */
function rankFrom(
  open: OpenModel,
  scope: Scope,
  node: NodeView,
): { rank: number } | { input: string } | undefined {
  const { opType, domain, inputs } = node;
  if (domain !== "") return undefined;
  if (opType === "Gemm" || opType === "Flatten") return { rank: 2 };
  if (opType === "Transpose" || SAME_SHAPE.has(opType)) {
    return { input: inputs[0] ?? "" };
  }
  if (opType === "Reshape") {
    const shape = integerConstant(open, scope, inputs[1] ?? "");
    return shape && { rank: shape.length };
  }
  if (opType === "MatMul" || opType === "Add") {
    // A constant matrix or vector leaves the rank of the other operand: that
    // of a MatMul is at least 2 then, that of an Add at least the constant's.
    for (const [position, name] of inputs.entries()) {
      if (opType === "MatMul" && position === 0) continue;
      if (constantRank(scope, name) === (opType === "MatMul" ? 2 : 1)) {
        return { input: inputs[1 - position] ?? "" };
      }
    }
  }
  return undefined;
}

/** A value of the same rank that a node makes of one. */
function sameRankBelow(open: OpenModel, value: Value): Value | undefined {
  for (const use of value.uses) {
    if (use.kind !== "node" || use.scope !== value.scope) continue;
    const from = rankFrom(open, use.scope, use.node);
    if (from && "input" in from && from.input === value.name) {
      return use.scope.values.get(use.node.outputs[0] ?? "");
    }
  }
  return undefined;
}

/** All that a model tells of shapes, each value looked at once. */
export class Shapes {
  readonly #declared = new Follower<Declared>(shapeStep);
  readonly #above: Follower<number>;
  readonly #below: Follower<number>;

  /**
   * Begins with nothing known.
   *
   * @param open The model.
   */
  constructor(open: OpenModel) {
    this.#above = new Follower((value) => {
      const answer = this.#declared.ask(value)?.length;
      if (answer !== undefined) return { answer };
      const { scope, origin } = value;
      if (origin.kind !== "node" || origin.position > 0) return undefined;
      const from = rankFrom(open, scope, origin.node);
      if (!from) return undefined;
      if ("rank" in from) return { answer: from.rank };
      const next = valueOf(scope, from.input);
      return next && { next };
    });
    this.#below = new Follower((value) => {
      const answer = this.#declared.ask(value)?.length;
      if (answer !== undefined) return { answer };
      const next = sameRankBelow(open, value);
      return next && { next };
    });
  }

  /**
   * A value's rank; undefined if the model does not tell it, nor that of
   * others from which it follows: what computes it, or what is computed of it.
   */
  rankOf(scope: Scope, name: string): number | undefined {
    const value = valueOf(scope, name);
    return value && (this.#above.ask(value) ?? this.#below.ask(value));
  }

  /** A value's shape where its rank is known: unknown extents get names. */
  shapeOf(value: Value, rank: number | undefined): Extent[] | undefined {
    const shape = this.#declared.ask(value);
    const trusted = shape && (rank === undefined || shape.length === rank)
      ? shape
      : undefined;
    const length = trusted?.length ?? rank;
    if (length === undefined) return undefined;
    return Array.from({ length }, (_, axis) => {
      const extent = trusted?.[axis];
      if (typeof extent === "number") return known(extent);
      // Extents of one name are equal all over a graph.
      return named(extent ? `"${extent}"` : `${value.name}[${axis}]`);
    });
  }
}
