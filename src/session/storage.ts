/**
 * Which values share memory.
 *
 * @module
 */

import { elementTypeNamed } from "../onnx/element_types.ts";
import type { Specialized, Step } from "./specialize.ts";
import { countOf, type Spec } from "./values.ts";

/** Where the elements of a value are. */
export type Storage =
  /** In the model. */
  | { readonly kind: "constant" }
  /** In what the caller fed. */
  | { readonly kind: "feed" }
  /** In an array that the caller gets. */
  | { readonly kind: "output" }
  /** In a block of the workspace. */
  | { readonly kind: "block"; readonly block: number };

/** The memory of all values of a plan. */
export interface Assignment {
  /** For each value, the one whose elements are at the same place. */
  readonly root: (id: number) => number;
  /** For each root, where it is. */
  readonly storage: ReadonlyMap<number, Storage>;
  /** The bytes of each block. */
  readonly blocks: readonly number[];
}

/** Rounds up to what every element type is aligned to. */
const ALIGNMENT = 8;

function bytesOf({ type, dims }: Spec): number {
  const bytes = countOf(dims) * elementTypeNamed(type).Data.BYTES_PER_ELEMENT;
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/**
 * Assigns memory: views and results in the place of dead inputs share it, and
 * what is no longer needed makes room for what comes.
 *
 * @param specialized The plan.
 * @param feeds The values that are fed.
 * @param outputs The values that are outputs of the graph.
 */
export function assignStorage(
  { specs, steps, views }: Specialized,
  feeds: ReadonlySet<number>,
  outputs: readonly number[],
): Assignment {
  const parents = new Map(views);
  const root = (id: number): number => {
    let at = id;
    for (let up = parents.get(at); up !== undefined; up = parents.get(at)) {
      at = up;
    }
    if (at !== id) parents.set(id, at); // the next search is short
    return at;
  };
  const isFixed = (id: number): boolean =>
    feeds.has(id) || specs[id]?.value !== undefined;
  const lastUse = new Map<number, number>();
  steps.forEach((step, s) => {
    for (const id of [...step.inputs, ...step.outputs]) {
      if (id >= 0) lastUse.set(root(id), s);
    }
  });
  const isOutput = new Set(outputs.map(root));
  for (const id of isOutput) lastUse.set(id, Infinity);
  steps.forEach((step, s) => {
    const [output] = step.outputs;
    if (output === undefined || output < 0) return;
    const { type, dims } = specs[output]!;
    const count = countOf(dims);
    for (const index of step.outcome.reuse ?? []) {
      const input = root(step.inputs[index]!);
      const spec = specs[input]!;
      const fits = !isFixed(input) && lastUse.get(input) === s &&
        spec.type === type && countOf(spec.dims) === count &&
        onlyAt(step, input, root, index);
      if (!fits) continue;
      const end = lastUse.get(output)!;
      parents.set(output, input);
      lastUse.set(input, end);
      if (end === Infinity) isOutput.add(input);
      break;
    }
  });
  const storage = new Map<number, Storage>();
  const blocks = new Blocks();
  const ends = new Map<number, number[]>();
  steps.forEach((step, s) => {
    for (const each of step.outputs) {
      if (each < 0) continue;
      const id = root(each);
      if (storage.has(id)) continue;
      if (isOutput.has(id)) {
        storage.set(id, { kind: "output" });
        continue;
      }
      const block = blocks.take(bytesOf(specs[id]!));
      storage.set(id, { kind: "block", block });
      const end = lastUse.get(id)!;
      ends.set(end, [...ends.get(end) ?? [], block]);
    }
    for (const block of ends.get(s) ?? []) blocks.give(block);
  });
  specs.forEach((spec, id) => {
    if (!spec || root(id) !== id || storage.has(id)) return;
    if (isFixed(id)) {
      storage.set(id, { kind: feeds.has(id) ? "feed" : "constant" });
    }
  });
  return { root, storage, blocks: blocks.sizes };
}

/** Whether a step takes a value's elements through inputs that it may reuse only. */
function onlyAt(
  { inputs, outcome }: Step,
  value: number,
  root: (id: number) => number,
  index: number,
): boolean {
  return inputs.every((id, i) =>
    i === index || id < 0 || root(id) !== value ||
    outcome.reuse!.includes(i)
  );
}

/** Blocks that are in use or free. */
class Blocks {
  readonly sizes: number[] = [];
  readonly #free = new Set<number>();

  /** The free block that fits best, or a new one. */
  take(bytes: number): number {
    let best: number | undefined;
    for (const each of this.#free) {
      const fits = this.sizes[each]! >= bytes;
      const isBetter = best === undefined ||
        (fits
          ? this.sizes[best]! < bytes || this.sizes[each]! < this.sizes[best]!
          : this.sizes[each]! > this.sizes[best]!);
      if (isBetter) best = each;
    }
    if (best === undefined) return this.sizes.push(bytes) - 1;
    this.#free.delete(best);
    this.sizes[best] = Math.max(this.sizes[best]!, bytes);
    return best;
  }

  give(block: number): void {
    this.#free.add(block);
  }
}
