/**
 * Neighbouring steps that are one `y = x * a + b`.
 *
 * @module
 */

import type { Layout } from "../kernels/layout.ts";
import type { OnnxType } from "../onnx/element_types.ts";
import type { Affine, Run } from "./ops/operator.ts";
import type { Step } from "./specialize.ts";

function sameLayout(a: Layout, b: Layout): boolean {
  return a.extents.length === b.extents.length &&
    a.extents.every((extent, d) => extent === b.extents[d]);
}

/**
 * Joins a step that multiplies with the one behind that adds: the kernels
 * round the product and the sum, as two steps do.
 *
 * @param steps The steps in their order.
 * @param isOnlyUse Whether a step is the only one that takes a value.
 * @param runOf Makes a run of factors and summands.
 */
export function joinAffine(
  steps: readonly Step[],
  isOnlyUse: (id: number) => boolean,
  runOf: (affine: Affine, type: OnnxType) => Run,
): Step[] {
  const joined: Step[] = [];
  const places = new Map<number, number>();
  for (const step of steps) {
    const { affine } = step.outcome;
    const from = affine && step.inputs[affine.input]!;
    const place = from === undefined ? undefined : places.get(from);
    const before = place === undefined ? undefined : joined[place];
    const first = before?.outcome.affine;
    const fits = affine && first && first.factors && !first.summands &&
      affine.summands && !affine.factors &&
      sameLayout(first.layout, affine.layout) && isOnlyUse(from!);
    if (!fits) {
      if (affine) places.set(step.outputs[0]!, joined.length);
      joined.push(step);
      continue;
    }
    const both: Affine = { ...first, summands: affine.summands };
    const { type } = step.outcome.outputs[0]!;
    joined[place!] = {
      label: step.label,
      inputs: before!.inputs,
      outputs: step.outputs,
      outcome: {
        ...step.outcome,
        affine: both,
        run: runOf(both, type),
        reuse: [both.input],
      },
    };
  }
  return joined;
}
