/**
 * The least that a WASM loop takes to bring a tensor from one place to another:
 * it loads and stores and does nothing else.
 *
 * @module
 */

import { instanceOf } from "../../src/kernels/wasm_arena.ts";
import type { TensorData } from "../../src/tensor.ts";

/**
 * What this compiles to, with the flags of `scripts/build_kernels.ts`:
 *
 *     export function move(from: usize, to: usize, bytes: usize): void {
 *       for (const end = from + bytes; from < end; from += 64) {
 *         const v0 = v128.load(from), v1 = v128.load(from, 16);
 *         const v2 = v128.load(from, 32), v3 = v128.load(from, 48);
 *         v128.store(to, v0), v128.store(to, v1, 16);
 *         v128.store(to, v2, 32), v128.store(to, v3, 48);
 *         to += 64;
 *       }
 *     }
 */
const MOVE_HEX =
  "0061736d0100000001070160037f7f7f00020f0103656e76066d656d6f727902" +
  "000303020100070801046d6f766500000a64016201037b200020026a21020340" +
  "200020024904402000fd00041021032000fd00042021042000fd000430210520" +
  "012000fd000400fd0b040020012003fd0b041020012004fd0b042020012005fd" +
  "0b0430200141406b2101200041406b21000c010b0b0b";

const module = new WebAssembly.Module(
  Uint8Array.from(MOVE_HEX.match(/../g)!, (byte) => parseInt(byte, 16)),
);

/**
 * Such a loop from one tensor to another, in whole turns of 64 bytes.
 *
 * @param from A tensor's array in WASM memory.
 * @param to Another one in the same memory.
 *
 * @throws {Error} If they are not.
 */
export function moveInMemory(from: TensorData, to: TensorData): () => void {
  const memory = instanceOf(from.buffer)?.memory;
  if (memory === undefined || from.buffer !== to.buffer) {
    throw new Error("Cannot move between arrays that share no WASM memory");
  }
  const { move } = new WebAssembly.Instance(module, { env: { memory } })
    .exports as { move(from: number, to: number, bytes: number): void };
  const bytes = from.byteLength - from.byteLength % 64;
  return () => move(from.byteOffset, to.byteOffset, bytes);
}
