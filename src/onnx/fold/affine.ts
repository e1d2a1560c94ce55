/**
 * What a BatchNormalization does in inference: `y = x * scale + shift` for
 * each channel, in float64.
 *
 * @module
 */

import { widen } from "../../tensor.ts";
import { type FoundNode, ROLES } from "../find.ts";
import { changeableReason, type Refused } from "./constants.ts";
import type { OpenModel } from "../open.ts";

/** `x * scale + shift`, a value of each per channel. */
export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** The one that changes nothing. */
export function unchanged(channels: number): Affine {
  return {
    scale: new Float64Array(channels).fill(1),
    shift: new Float64Array(channels),
  };
}

/** One after the other. */
export function compose(first: Affine, second: Affine): Affine {
  return {
    scale: first.scale.map((value, c) => value * second.scale[c]!),
    shift: first.shift.map((value, c) =>
      value * second.scale[c]! + second.shift[c]!
    ),
  };
}

/** Whether it only scales. */
export function hasNoShift({ shift }: Affine): boolean {
  return shift.every((value) => value === 0);
}

/** Why a node does not do the same to every input, whatever its neighbours. */
function obstacle({ node, scope, epsilon, trainingMode, spatial }: FoundNode):
  | string
  | undefined {
  if (trainingMode === undefined) {
    return "training mode is an attribute of its function, and no one value holds in all calls";
  }
  if (trainingMode) {
    return "training mode: it normalizes with the statistics of the batch";
  }
  if (!node.outputs[0]) return "it has no output";
  if (!spatial) return "spatial is 0: its parameters differ between places";
  if (Number.isNaN(epsilon)) {
    return "its epsilon comes from its function's calls";
  }
  // Before opset 14, named outputs made it training mode.
  const extra = node.outputs.slice(1).find((name) =>
    (scope.values.get(name)?.uses.length ?? 0) > 0
  );
  return extra === undefined
    ? undefined
    : `its statistics are used, as "${extra}"`;
}

/** What a node does, or why that is not known. */
export function affineOf(
  open: OpenModel,
  found: FoundNode,
): Affine | Refused {
  const reason = obstacle(found);
  if (reason !== undefined) return { reason };
  const vectors: Float64Array[] = [];
  for (const role of ROLES) {
    const { tensor, constant, reason } = found.parameters[role];
    if (!tensor) return { reason: `dynamic ${role}: ${reason}` };
    const changeable = changeableReason(open, constant);
    if (changeable !== undefined) {
      return { reason: `dynamic ${role}: ${changeable}` };
    }
    vectors.push(widen(tensor));
  }
  const [gamma, beta, mean, variance] = vectors as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const lengths = vectors.map(({ length }) => length);
  if (new Set(lengths).size > 1) {
    return { reason: `its parameters have different lengths: ${lengths}` };
  }
  const sums = variance.map((value) => value + found.epsilon);
  const bad = sums.findIndex((value) => !(value > 0));
  if (bad >= 0) {
    return {
      reason: `variance + epsilon is ${sums[bad]} in channel ${bad}`,
    };
  }
  const scale = gamma.map((value, c) => value / Math.sqrt(sums[c]!));
  const shift = beta.map((value, c) => value - mean[c]! * scale[c]!);
  const isFinite = [...scale, ...shift].every(Number.isFinite);
  return isFinite ? { scale, shift } : { reason: "its result is not finite" };
}
