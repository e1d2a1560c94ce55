/**
 * Measures speed side by side with peers, prints tables and writes
 * `scripts/bench/RESULTS.md`.
 *
 *     deno task bench [--quick] [--only=inference,training,...]
 *
 * `--quick` takes fewer rounds; with it or `--only`, nothing is written.
 *
 * @module
 */

import { elementTypeSection } from "./element_types.ts";
import { growthSection } from "./growth.ts";
import { inferenceSection } from "./inference.ts";
import { largeFilesSection } from "./large_files.ts";
import { describeMachine } from "./machine.ts";
import { whyNotThreaded } from "./onnxruntime.ts";
import { overheadSection } from "./overhead.ts";
import { firstResultSection, memorySection } from "./processes.ts";
import { formatSection, type Section } from "./report.ts";
import type { RoundOptions } from "./rounds.ts";
import { operatorSection, sessionSection } from "./session.ts";
import { AWKWARD_SHAPES, type BenchShape, nameOf, SHAPES } from "./shapes.ts";
import { startTfjs } from "./tfjs.ts";
import { threadsSection } from "./threads.ts";
import { bothSection, forwardSection } from "./training.ts";
import { warmUpKernels } from "./warm_up.ts";

const RESULTS = new URL("RESULTS.md", import.meta.url);

const named = (...names: string[]): BenchShape[] =>
  [...SHAPES, ...AWKWARD_SHAPES].filter((shape) =>
    names.includes(nameOf(shape))
  );

/** All tables, by the name that `--only` knows. */
const SECTIONS: Readonly<
  Record<string, (options: RoundOptions) => Promise<Section>>
> = {
  inference: (options) =>
    inferenceSection("Inference, float32", SHAPES, options),
  awkward: (options) =>
    inferenceSection(
      "Inference, float32: awkward channel counts",
      AWKWARD_SHAPES,
      options,
    ),
  small: (options) =>
    overheadSection(named("[1, 32]", "[1, 64, 14, 14]"), options),
  types: (options) =>
    elementTypeSection(
      named("[8, 64, 56, 56]", "[8, 56, 56, 64] last"),
      options,
    ),
  session: (options) => sessionSection(SHAPES, options),
  operators: (options) =>
    operatorSection(named("[8, 64, 56, 56]")[0]!, options),
  forward: (options) => forwardSection([...SHAPES, ...AWKWARD_SHAPES], options),
  both: (options) => bothSection(SHAPES, options),
  threads: (options) => threadsSection(SHAPES, options),
  first: ({ rounds }) => firstResultSection(rounds),
  memory: () => memorySection(),
  growth: growthSection,
  files: ({ rounds }) => largeFilesSection(rounds),
};

/** What the table has to say about peers that could not be measured. */
async function peerNotes(): Promise<string> {
  const why = await whyNotThreaded();
  return why === undefined
    ? "onnxruntime-web and TensorFlow.js run in one thread, as we do."
    : `onnxruntime-web and TensorFlow.js run in one thread, as we do: with more, onnxruntime-web does not start on this Deno (${
      why.replaceAll(/\s+/g, " ")
    }).`;
}

async function main(): Promise<number> {
  let quick = false;
  let only = Object.keys(SECTIONS);
  for (const argument of Deno.args) {
    const names = /^--only=(.+)$/.exec(argument)?.[1]?.split(",");
    if (argument === "--quick") {
      quick = true;
    } else if (names?.every((name) => Object.hasOwn(SECTIONS, name))) {
      only = names;
    } else {
      console.error(
        `Unknown argument ${argument}: expected --quick, or --only= with some of ${
          Object.keys(SECTIONS).join(",")
        }`,
      );
      return 2;
    }
  }
  const options = quick
    ? { rounds: 7, least: 0.3 }
    : { rounds: 15, least: 0.5 };
  await warmUpKernels();
  const parts = [
    "# Speed, side by side",
    `Measured by \`deno task bench\` on ${await describeMachine()}.`,
    "Medians of ratios over rounds that run all candidates one after the other, in one process.",
    await peerNotes(),
  ];
  console.log(parts.join("\n\n"));
  await warmUpKernels();
  await startTfjs();
  for (const name of only) {
    const section = formatSection(await SECTIONS[name]!(options));
    console.log(`\n${section}`);
    parts.push(section.trimEnd());
  }
  if (!quick && only.length === Object.keys(SECTIONS).length) {
    await Deno.writeTextFile(RESULTS, `${parts.join("\n\n")}\n`);
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main());
