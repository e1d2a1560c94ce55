/**
 * Layers as NumPy's `.npz`: arrays by names such as `bn/gamma`.
 *
 * @module
 */

import { encodeNpy } from "../numpy/npy_write.ts";
import { writeZip } from "../zip/zip.ts";
import type { WritableLayer } from "./writable.ts";

/** The bytes of an archive with all variables; `np.load` reads it. */
export async function writeNpz(
  layers: readonly WritableLayer[],
): Promise<Uint8Array> {
  const members = new Map<string, Uint8Array>();
  for (const { key, weights } of layers) {
    for (const [name, tensor] of weights) {
      members.set(`${key}/${name}.npy`, encodeNpy(tensor));
    }
  }
  return await writeZip(members);
}
