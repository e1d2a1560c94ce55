/**
 * The module with everything, for a memory that threads share.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import { FULL_FORM } from "../wasm.ts";
import { compileEmbedded, reasonOf } from "../wasm_module.ts";

/**
 * The import section: 15 bytes with one import, `env.memory`, a memory whose
 * limits are a minimum of three pages.
 */
const PLAIN = "020f0103656e76066d656d6f7279020003";
/**
 * The same for a shared memory, which has to have a maximum as well: the 65536
 * pages that are possible. Nothing else differs in what the compiler makes of
 * the same sources with `--sharedMemory`.
 */
const SHARED = "02120103656e76066d656d6f7279020303808004";

/**
 * Compiles the embedded module for a shared memory. The kernels use no atomic
 * instruction, as no two threads ever write the same element.
 *
 * @throws {UnsupportedError} If the runtime does not compile it.
 */
export function compileShared(): WebAssembly.Module {
  const { embedded } = FULL_FORM;
  if (typeof embedded !== "string") {
    throw new UnsupportedError(
      `Cannot start threads: this bundle has its WASM compiled beforehand, for a runtime that has no threads. Run without a pool, which gives the same results`,
    );
  }
  try {
    const shared = embedded.replace(PLAIN, SHARED);
    return compileEmbedded({ ...FULL_FORM, embedded: shared });
  } catch (error) {
    const cause = error instanceof Error && error.cause || error;
    throw new UnsupportedError(
      `Cannot start threads: this runtime compiles no WASM from bytes (${
        reasonOf(cause)
      }). Run without a pool, which gives the same results`,
      { cause },
    );
  }
}
