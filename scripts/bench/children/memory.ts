// How much memory a large inference in place takes beyond its tensor, and
// whether small calls leave any behind. Prints JSON, in bytes.
import { BatchNormalization, tensor } from "../../../mod.ts";

/** The most that the process ever had in memory. */
function peak(): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)![1]);
}

const small = new BatchNormalization({ axis: -1 });
const x = tensor(new Float32Array(32).fill(2), [1, 32]);
const out = tensor(new Float32Array(32), [1, 32]);
const calls = (count: number): void => {
  for (let i = 0; i < count; i++) small.call(x, { out });
};
calls(100_000);
const residentBefore = Deno.memoryUsage().rss;
calls(1_000_000);
const residentAfter = Deno.memoryUsage().rss;

const layer = new BatchNormalization({ axis: 1 });
const length = 2 ** 27;
const large = tensor(new Float32Array(length).fill(2), [2, 64, length / 128]);
const before = peak();
layer.call(large, { out: large });
const after = peak();
console.log(JSON.stringify({
  large: after - before,
  million: residentAfter - residentBefore,
}));
