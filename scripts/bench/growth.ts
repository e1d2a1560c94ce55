/**
 * Time per element from a thousand to a hundred million elements.
 *
 * @module
 */

import { allocate } from "../../mod.ts";
import { makeLayer, makeWeights } from "./data.ts";
import { formatTime, type Section } from "./report.ts";
import { measureRounds, median, type RoundOptions } from "./rounds.ts";
import { type BenchShape, countOf } from "./shapes.ts";

const SIZES = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
const CHANNELS = 50;

/** Inference in place in WASM memory, channels first and last. */
export async function growthSection(
  { least, rounds }: RoundOptions,
): Promise<Section> {
  const rows: string[][] = [];
  for (const size of SIZES) {
    const row = [size.toExponential(0)];
    const shapes: BenchShape[] = [
      { dims: [1, CHANNELS, size / CHANNELS], axis: 1 },
      { dims: [size / CHANNELS, CHANNELS], axis: 1 },
    ];
    for (const shape of shapes) {
      const layer = makeLayer(shape, makeWeights(shape), "wasm");
      using x = allocate(shape.dims);
      const [timing] = await measureRounds(
        [{ name: "", run: () => void layer.call(x, { out: x }) }],
        { least, rounds: size > 1e7 ? Math.min(rounds, 5) : rounds },
      );
      const time = median(timing!.rounds);
      row.push(formatTime(time), `${(time * 1e6 / countOf(shape)).toFixed(3)}`);
    }
    rows.push(row);
  }
  return {
    title: "Growth",
    notes: [
      `Inference in place, ${CHANNELS} channels, in WASM memory. Past the caches (see above) the time per element`,
      "should stay as it is.",
    ],
    header: ["elements", "first", "ns each", "last", "ns each"],
    rows,
  };
}
