/**
 * Settings of layers as they are read best.
 *
 * @module
 */

import { formatNumber } from "./table.ts";

/** No float32 needs more digits. */
const FLOAT32_DIGITS = 9;

/**
 * A number such as an epsilon: one that was stored as float32, as ONNX does,
 * in the fewest digits that give it again.
 */
export function formatSetting(value: number): string {
  if (Math.fround(value) !== value) return formatNumber(value);
  for (let digits = 1; digits < FLOAT32_DIGITS; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return formatNumber(short);
  }
  return formatNumber(value);
}
