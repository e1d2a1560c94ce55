/**
 * How a tensor gets its kept axes to dimension 1, where ONNX has the channels.
 *
 * @module
 */

import { integers, type Step } from "./step.ts";
import { AXES_INPUT_OPSET } from "./versions.ts";

/** What to do before an operator on `[N, C, ...]`, and how to undo it. */
export interface Detour {
  readonly before: readonly Step[];
  readonly after: readonly Step[];
}

/** The extent of a Reshape's target that means "as in the input". */
const COPY = 0;
/** The extent of a Reshape's target that means "what is left". */
const REST = -1;

/**
 * The fewest nodes that bring all kept axes, merged, to dimension 1.
 *
 * Every node works for any extent of the reduced axes, 0 included. Hence
 * reduced extents are copied by a Reshape, which needs them to stay at their
 * index: merged axes leave dimensions of 1 behind. The Reshape's other means,
 * one extent that follows from the rest, fails for empty tensors if another
 * extent is copied.
 *
 * @param extents The extents of the input; null where dynamic, which those of
 * `axes` are not.
 * @param axes The kept axes, ascending.
 * @param opset The opset to write.
 */
export function channelsFirst(
  extents: readonly (number | null)[],
  axes: readonly number[],
  opset: number,
): Detour {
  const first = axes[0];
  const neighbours = axes.every((axis, i) => axis === axes[0]! + i);
  if (first === undefined) return insertAxis(1, opset); // one channel for all
  if (first === 0 && axes.length === 1) return insertAxis(0, opset);
  if (neighbours && first <= 1) return mergeInPlace(extents, axes);
  if (neighbours && axes.length > 1) {
    // Empty tensors need the same care as those of unknown extent.
    const known = extents.map((extent) => extent || null);
    if (known.filter((extent) => extent === null).length <= 1) {
      return mergeAll(known, axes);
    }
  }
  return transposeAndMerge(extents, axes);
}

function insertAxis(axis: number, opset: number): Detour {
  const step = (op: string): Step =>
    opset < AXES_INPUT_OPSET
      ? { op, constants: [], attributes: [{ name: "axes", ints: [axis] }] }
      : { op, constants: [integers("axes", [axis])], attributes: [] };
  return { before: [step("Unsqueeze")], after: [step("Squeeze")] };
}

function reshape(shape: readonly number[]): Step {
  return {
    op: "Reshape",
    constants: [integers("shape", shape)],
    attributes: [],
  };
}

function transpose(perm: readonly number[]): Step {
  return {
    op: "Transpose",
    constants: [],
    attributes: [{ name: "perm", ints: perm }],
  };
}

function product(extents: readonly (number | null)[]): number {
  return extents.reduce<number>((all, extent) => all * extent!, 1);
}

/** Neighbouring kept axes, 1 among them: `[n, a, b, h]` as `[n, a * b, 1, h]`. */
function mergeInPlace(
  extents: readonly (number | null)[],
  axes: readonly number[],
): Detour {
  if (axes.length === 1) return { before: [], after: [] };
  const channels = product(axes.map((axis) => extents[axis]!));
  const merged = extents.map((_, d) =>
    !axes.includes(d) ? COPY : d === 1 ? channels : 1
  );
  const original = extents.map((extent, d) =>
    axes.includes(d) ? extent! : COPY
  );
  return { before: [reshape(merged)], after: [reshape(original)] };
}

/** Neighbouring kept axes anywhere: `[n, h, a, b, w]` as `[n * h, a * b, w]`. */
function mergeAll(
  extents: readonly (number | null)[],
  axes: readonly number[],
): Detour {
  const merge = (group: readonly (number | null)[]): number =>
    group.includes(null) ? REST : product(group);
  const start = axes[0]!;
  const end = start + axes.length;
  const merged = [extents.slice(0, start), extents.slice(start, end)];
  if (end < extents.length) merged.push(extents.slice(end));
  return {
    before: [reshape(merged.map(merge))],
    after: [reshape(extents.map((extent) => extent ?? REST))],
  };
}

/** Any other kept axes: `[n, h, a, w, b]` to `[n, a, b, h, w]`, then merged. */
function transposeAndMerge(
  extents: readonly (number | null)[],
  axes: readonly number[],
): Detour {
  const reduced = extents.map((_, d) => d).filter((d) => !axes.includes(d));
  const perm = [reduced[0]!, ...axes, ...reduced.slice(1)];
  const inverse = perm.map((_, d) => perm.indexOf(d));
  const inner = mergeInPlace(
    perm.map((d) => extents[d]!),
    axes.map((_, i) => i + 1),
  );
  return {
    before: [transpose(perm), ...inner.before],
    after: [...inner.after, transpose(inverse)],
  };
}
