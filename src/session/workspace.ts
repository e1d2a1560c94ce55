/**
 * The memory of a session: blocks that its plans share, since only one runs
 * at a time.
 *
 * @module
 */

import { orNoMemory } from "./values.ts";

/** Blocks of memory by number, each as large as any plan needed it. */
export class Workspace {
  readonly #blocks: ArrayBuffer[] = [];
  /** Counts the blocks that were replaced by larger ones. */
  version = 0;

  /** Makes sure that blocks have at least so many bytes. */
  reserve(sizes: readonly number[]): void {
    sizes.forEach((bytes, i) => {
      const block = this.#blocks[i];
      if (block && block.byteLength >= bytes) return;
      this.#blocks[i] = orNoMemory(() => new ArrayBuffer(bytes), bytes);
      this.version++;
    });
  }

  /** A block. */
  block(index: number): ArrayBuffer {
    return this.#blocks[index]!;
  }

  /** Gives all blocks back. */
  clear(): void {
    this.#blocks.length = 0;
    this.version++;
  }
}
