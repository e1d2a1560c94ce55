/**
 * What the figures were measured on; no host names and no paths.
 *
 * @module
 */

/** The CPU's own name, where the system tells it. */
async function cpuModel(): Promise<string> {
  try {
    const text = await Deno.readTextFile("/proc/cpuinfo");
    return /^model name\s*:\s*(.+)$/m.exec(text)?.[1] ?? "unknown CPU";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "unknown CPU";
    throw error;
  }
}

/** One cache's size, as the system writes it, such as `2048K`. */
async function cacheSize(index: number): Promise<string | undefined> {
  const path = `/sys/devices/system/cpu/cpu0/cache/index${index}/size`;
  try {
    return (await Deno.readTextFile(path)).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** A line that names the machine and the runtime. */
export async function describeMachine(): Promise<string> {
  const caches = await Promise.all([0, 2, 3].map(cacheSize));
  const named = ["L1d", "L2", "L3"]
    .map((level, i) => caches[i] && `${level} ${caches[i]}`)
    .filter((text) => text !== undefined);
  const { deno, v8 } = Deno.version;
  return [
    `${await cpuModel()}, ${navigator.hardwareConcurrency} cores`,
    ...named,
    `${Deno.build.os} ${Deno.build.arch}`,
    `Deno ${deno}, V8 ${v8}`,
  ].join("; ");
}
