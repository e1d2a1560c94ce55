// How long loadKeras takes, in milliseconds, and how much memory at most
// beside what the process had before, in bytes. Prints JSON.
import { loadKeras } from "../../../mod.ts";

/** A line of what Linux tells of the process, in bytes. */
function memory(name: "VmHWM" | "VmRSS"): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  const [, kilobytes] = new RegExp(`^${name}:\\s*(\\d+) kB$`, "m")
    .exec(status)!;
  return 1024 * Number(kilobytes);
}

const before = memory("VmRSS");
const start = performance.now();
const model = await loadKeras(Deno.args[0]!);
const time = performance.now() - start;
const layers = model.batchNormalizations.size;
console.log(JSON.stringify({ time, memory: memory("VmHWM") - before, layers }));
