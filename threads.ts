/**
 * Threads for training on large tensors, where there are workers and shared
 * memory: Deno, Node, Bun, and web pages that are cross-origin isolated.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { startThreads } from "@evenkeel/evenkeel/threads";
 *
 * await using pool = await startThreads({ threads: 2 });
 * assertEquals(pool.threads, 2);
 * ```
 *
 * @module
 */

export {
  startThreads,
  type StartThreadsOptions,
  type ThreadPool,
} from "./src/kernels/threads/pool.ts";
export { ThreadError } from "./src/errors.ts";
export type { KernelSource } from "./src/kernels/types.ts";
