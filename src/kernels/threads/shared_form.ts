/**
 * What the module needs to be one for shared memory.
 *
 * @module
 */

/**
 * The import section: 15 bytes with one import, `env.memory`, a memory whose
 * limits are a minimum of three pages.
 */
const PLAIN = "020f0103656e76066d656d6f7279020003";
/**
 * The same for a shared memory, which has to have a maximum as well: the 65536
 * pages that are possible. Nothing else differs in what the compiler makes of
 * the same sources with `--sharedMemory`, as `scripts/build_kernels.ts` checks.
 */
const SHARED = "02120103656e76066d656d6f7279020303808004";

/** The module for a shared memory, both in hexadecimal. */
export function toShared(hex: string): string {
  return hex.replace(PLAIN, SHARED);
}
