/**
 * Vectors for what a call needs only while it runs.
 *
 * A typed array of more than a few values costs about half a microsecond to
 * make and to collect, and a training call needs a dozen: on small tensors
 * that was most of its time.
 *
 * @module
 */

/** What the layer's calls have vectors for; no two of a call may be the same. */
export type ScratchName =
  | "factor"
  | "summand"
  | "shift"
  | "slope"
  | "sum"
  | "product";

/** Vectors of up to so many values are kept: 192 KB in all. */
const KEPT = 4096;

const kept = new Map<ScratchName, Float64Array>();

/**
 * A vector of at least `length` values, whatever they are. It is everybody's:
 * nothing may stay in it when control goes back to the user, or to a function
 * of his.
 *
 * @param name Which.
 * @param length How many values are needed.
 */
export function scratchVector(
  name: ScratchName,
  length: number,
): Float64Array {
  if (length > KEPT) return new Float64Array(length);
  let vector = kept.get(name);
  if (!vector) kept.set(name, vector = new Float64Array(KEPT));
  return vector;
}
