/**
 * The module with everything, for a memory that threads share.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import { FULL_FORM } from "../wasm.ts";
import { compileEmbedded, reasonOf } from "../wasm_module.ts";
import { toShared } from "./shared_form.ts";

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
    return compileEmbedded({ ...FULL_FORM, embedded: toShared(embedded) });
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
