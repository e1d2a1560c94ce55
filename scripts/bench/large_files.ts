/**
 * Reading BatchNormalization layers out of files of any size.
 *
 * @module
 */

import { runChild } from "./child.ts";
import type { Section } from "./report.ts";
import { median } from "./rounds.ts";
import { WRITERS } from "./sparse_files.ts";

/** The megabytes of the other layers' weights. */
const SIZES = [0, 5, 50, 500];
const LAYERS = 50;

const NAMES: Readonly<Record<string, string>> = { ".index": "checkpoint" };

interface Loaded {
  readonly time: number;
  readonly memory: number;
  readonly layers: number;
}

async function load(path: string): Promise<Loaded> {
  const { output } = await runChild("children/load_keras.ts", [path]);
  const loaded = JSON.parse(output) as Loaded;
  if (loaded.layers !== LAYERS) {
    throw new Error(`Expected ${LAYERS} layers of ${path}, got ${output}`);
  }
  return loaded;
}

/** `loadKeras` of the same layers, among others of more and more bytes. */
export async function largeFilesSection(rounds: number): Promise<Section> {
  const rows: string[][] = [];
  for (const ending of Object.keys(WRITERS)) {
    const folder = await Deno.makeTempDir();
    try {
      const paths: string[] = [];
      for (const size of SIZES) {
        const bytes = `${size * 1e6}`;
        // In a process of its own, of which the memory is free again then.
        await runChild("children/write_model.ts", [folder, ending, bytes]);
        paths.push(`${folder}/${bytes}${ending}`);
      }
      const runs: Loaded[][] = paths.map(() => []);
      // The first round fills the caches of Deno and of the system.
      for (let round = 0; round <= rounds; round++) {
        for (const [i, path] of paths.entries()) {
          const loaded = await load(path);
          if (round > 0) runs[i]!.push(loaded);
        }
      }
      const last = runs.at(-1)!;
      const ratio = median(
        last.map(({ time }, round) => time / runs[0]![round]!.time),
      );
      rows.push([
        NAMES[ending] ?? ending,
        ...runs.flatMap((list) => [
          `${Math.round(median(list.map(({ time }) => time)))} ms`,
          (median(list.map(({ memory }) => memory)) / 2 ** 20).toFixed(1),
        ]),
        ratio.toFixed(2),
      ]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
  return {
    title: "Large files",
    notes: [
      `\`loadKeras\` of ${LAYERS} layers of 256 channels, among dense layers of so many megabytes, each time in a fresh process: the`,
      "time, and the most memory beyond what the process had before, in MB. Of HDF5 (the first three), most is the start",
      "of h5wasm. The ratio is the time of the largest file to that without dense layers.",
    ],
    header: [
      "file",
      ...SIZES.flatMap((
        size,
      ) => [size === 0 ? "alone" : `${size} MB`, "memory"]),
      "ratio",
    ],
    rows,
  };
}
