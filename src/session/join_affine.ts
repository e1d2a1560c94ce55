/**
 * Neighbouring steps that are one `y = x * a + b`, bounded or not.
 *
 * @module
 */

import type { Layout } from "../kernels/layout.ts";
import type { OnnxType } from "../onnx/element_types.ts";
import type { Affine, Outcome, Run } from "./ops/operator.ts";
import type { Step } from "./specialize.ts";

function sameLayout(a: Layout, b: Layout): boolean {
  return a.extents.length === b.extents.length &&
    a.extents.every((extent, d) => extent === b.extents[d]);
}

/** Two steps as one; undefined if they cannot be. */
function joinPair(
  first: Affine,
  { affine, clamp }: Outcome,
): Affine | undefined {
  if (first.bounds) return undefined;
  if (clamp) return { ...first, bounds: clamp };
  const fits = affine && first.factors && !first.summands &&
    affine.summands && !affine.factors &&
    sameLayout(first.layout, affine.layout);
  return fits ? { ...first, summands: affine.summands } : undefined;
}

/**
 * Joins a step that multiplies with the one behind that adds: the kernels
 * round the product and the sum, as two steps do. And what is affine with a
 * step behind that bounds it: Relu, and Clip to constants.
 *
 * @param steps The steps in their order.
 * @param isOnlyUse Whether a step is the only one that takes a value.
 * @param runOf Makes a run of factors, summands and bounds.
 */
export function joinAffine(
  steps: readonly Step[],
  isOnlyUse: (id: number) => boolean,
  runOf: (affine: Affine, type: OnnxType) => Run,
): Step[] {
  const joined: Step[] = [];
  const places = new Map<number, number>();
  for (const step of steps) {
    const { outcome } = step;
    const from = step.inputs[outcome.affine?.input ?? 0]!;
    const place = places.get(from);
    const before = place === undefined ? undefined : joined[place];
    const both = before && isOnlyUse(from)
      ? joinPair(before.outcome.affine!, outcome)
      : undefined;
    if (!both) {
      if (outcome.affine) places.set(step.outputs[0]!, joined.length);
      joined.push(step);
      continue;
    }
    const { type } = outcome.outputs[0]!;
    places.set(step.outputs[0]!, place!);
    joined[place!] = {
      label: step.label,
      inputs: before!.inputs,
      outputs: step.outputs,
      outcome: {
        ...outcome,
        affine: both,
        run: runOf(both, type),
        reuse: [both.input],
      },
    };
  }
  return joined;
}
