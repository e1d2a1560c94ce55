/**
 * What fresh processes show: the time to a first result, and memory.
 *
 * @module
 */

import { BatchNormalization, buildOnnx } from "../../mod.ts";
import { runChild } from "./child.ts";
import { formatTime, type Section } from "./report.ts";
import { median } from "./rounds.ts";

/** Import, start and one inference of [1, 64, 14, 14] in a fresh process. */
export async function firstResultSection(rounds: number): Promise<Section> {
  const model = await Deno.makeTempFile({ suffix: ".onnx" });
  try {
    await Deno.writeFile(
      model,
      buildOnnx(new BatchNormalization({ axis: 1 }), {
        inputShape: [1, 64, 14, 14],
      }),
    );
    const scripts = [
      ["an empty script", "children/empty.ts"],
      ["inference.ts", "children/inference.ts"],
      ["mod.ts", "children/all.ts"],
      ["onnxruntime-web", "children/onnxruntime.ts", model],
    ] as const;
    const times: number[][] = scripts.map(() => []);
    // The first round fills the caches of Deno and of the system.
    for (let round = 0; round <= rounds; round++) {
      for (const [i, [, file, ...args]] of scripts.entries()) {
        const { time } = await runChild(file, args);
        if (round > 0) times[i]!.push(time);
      }
    }
    const beyond = times.map((list) =>
      median(list.map((time, round) => time - times[0]![round]!))
    );
    return {
      title: "First result in a fresh process",
      notes: [
        "Import, start and one inference of [1, 64, 14, 14]; the process as a whole, and what it takes beyond an",
        "empty script. Modules are in Deno's cache.",
      ],
      header: ["script", "in all", "fastest", "beyond empty"],
      rows: scripts.map(([name], i) => [
        name,
        formatTime(median(times[i]!)),
        formatTime(Math.min(...times[i]!)),
        i === 0 ? "-" : formatTime(beyond[i]!),
      ]),
    };
  } finally {
    await Deno.remove(model);
  }
}

/** The memory of a large call, and of many small ones. */
export async function memorySection(): Promise<Section> {
  const { output } = await runChild("children/memory.ts");
  const { large, million } = JSON.parse(output) as {
    large: number;
    million: number;
  };
  const megabytes = (bytes: number): string =>
    `${(bytes / 2 ** 20).toFixed(2)} MB`;
  return {
    title: "Memory",
    notes: ["In a fresh process of its own, as the system counts it."],
    header: ["what", "growth"],
    rows: [
      ["peak, during an inference of 512 MB in place", megabytes(large)],
      [
        "resident, over a million calls of [1, 32] with `out`",
        megabytes(million),
      ],
    ],
  };
}
