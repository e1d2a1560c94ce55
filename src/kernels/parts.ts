/**
 * Blocks cut into parts that a loop's index reaches.
 *
 * @module
 */

import type { Block } from "./layout.ts";

/**
 * The largest index of the loops in plain TypeScript, and the longest array
 * that they run on.
 *
 * Where a loop counts from `& INDEX` up to `& INDEX`, V8 knows that its index
 * is not negative and does not overflow: it neither looks for that nor extends
 * the sign, which are 3 of the 18 instructions per element of an inference, nor
 * takes the index for a fraction where other uses of the loop had made it one
 * (twice the time). That takes a constant of the loop's own file, as V8 knows no
 * value of another module's (0.96 of the time instead of 0.82); a test compares
 * them.
 */
export const INDEX = 0x7fffffff;

/**
 * Visits parts of a block, none with more than `limit` elements.
 *
 * @param block The block.
 * @param limit The most elements; at least 1.
 * @param visit Gets a part's first element and first parameter within the
 * block, and the part.
 */
export function forEachPart(
  block: Block,
  limit: number,
  visit: (element: number, parameter: number, part: Block) => void,
): void {
  const { outer, channels, inner } = block;
  const run = channels * inner;
  if (outer * run <= limit) return visit(0, 0, block);
  // In halves of what is outermost.
  const [extent, size, step] = outer > 1
    ? ["outer", run, 0] as const
    : channels > 1
    ? ["channels", inner, 1] as const
    : ["inner", 1, 0] as const;
  const half = Math.floor(block[extent] / 2);
  forEachPart({ ...block, [extent]: half }, limit, visit);
  forEachPart(
    { ...block, [extent]: block[extent] - half },
    limit,
    (element, parameter, part) =>
      visit(half * size + element, half * step + parameter, part),
  );
}
