/**
 * What the loops of training over one class of arrays are called with.
 *
 * @module
 */

import type { SlotVectors } from "./pieces.ts";

/** Rows of an operation on one array, or of one array to another. */
type Rows<A extends unknown[]> = (
  vectors: SlotVectors,
  slot: number,
  ...rest: [...arrays: A, at: number, rows: number, length: number]
) => void;

/** Columns of such an operation. */
type Columns<A extends unknown[]> = (
  vectors: SlotVectors,
  ...rest: [
    ...arrays: A,
    at: number,
    rows: number,
    width: number,
    stride: number,
  ]
) => void;

/**
 * The loops; what they compute, and in which order, is at `PieceRunner`.
 *
 * Pieces begin at element `at` of all arrays, rows at the slot `slot`.
 */
export interface PieceLoops<T> {
  readonly momentsRows: Rows<[x: T]>;
  readonly gradientSumsRows: Rows<[x: T, dy: T]>;
  readonly normalizeRows: Rows<[x: T, y: T]>;
  readonly inputGradientRows: Rows<[x: T, dy: T, dx: T]>;
  readonly momentsColumns: Columns<[x: T]>;
  readonly gradientSumsColumns: Columns<[x: T, dy: T]>;
  readonly normalizeColumns: Columns<[x: T, y: T]>;
  readonly inputGradientColumns: Columns<[x: T, dy: T, dx: T]>;
}
