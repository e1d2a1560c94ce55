/**
 * The other element types against float32 of the same count.
 *
 * @module
 */

import {
  allocate,
  BatchNormalization,
  type ElementType,
  tensor,
} from "../../mod.ts";
import { encodeInto } from "../../src/tensor.ts";
import { makeValues } from "./data.ts";
import { formatRatio, formatTime, type Section } from "./report.ts";
import { measureRounds, median, ratio, type RoundOptions } from "./rounds.ts";
import { type BenchShape, channelsOf, nameOf } from "./shapes.ts";

const TYPES: readonly ElementType[] = [
  "float32",
  "float64",
  "float16",
  "bfloat16",
];

/** The table over some shapes. */
export async function elementTypeSection(
  shapes: readonly BenchShape[],
  options: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const shape of shapes) {
    const { dims, axis } = shape;
    const values = makeValues(shape, 1);
    const vector = (value: number) =>
      tensor(new Float32Array(channelsOf(shape)).fill(value), [
        channelsOf(shape),
      ]);
    using disposals = new DisposableStack();
    const candidates = ([false, true] as const).flatMap((training) =>
      TYPES.map((type) => {
        // "mixed_float16" has its variables in float32, as in practice.
        const layer = new BatchNormalization({
          axis,
          kernels: "wasm",
          dtype: type === "float16" || type === "bfloat16"
            ? `mixed_${type}`
            : type,
        });
        layer.setWeights([0.9, 0.1, 0.2, 1.1].map(vector));
        const x = disposals.use(allocate(dims, type));
        const out = disposals.use(allocate(dims, type));
        encodeInto(type, x.data, values);
        encodeInto(type, out.data, values);
        return { name: type, run: () => void layer.call(x, { out, training }) };
      })
    );
    const times = await measureRounds(candidates, options);
    for (const [i, mode] of ["inference", "training"].entries()) {
      const [single, ...others] = times.slice(4 * i, 4 * i + 4);
      rows.push([
        nameOf(shape),
        mode,
        formatTime(median(single!.rounds)),
        ...others.map((timing) => formatRatio(ratio(timing, single!))),
      ]);
    }
  }
  return {
    title: "Element types",
    notes: [
      "In WASM memory: how many times as long as float32 of the same count.",
    ],
    header: ["shape", "mode", ...TYPES],
    rows,
  };
}
