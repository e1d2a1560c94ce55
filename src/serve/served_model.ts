/**
 * What a server needs of a model.
 *
 * @module
 */

import type { SessionOutput, SessionTensor } from "../session/types.ts";

/** A model that is served. */
export interface ServedModel {
  /** Its name in the URL. */
  readonly name: string;
  /**
   * Computes outputs.
   *
   * @param feeds The inputs by name.
   * @param outputs The names of the outputs that are wanted; all by default.
   *
   * @throws {EvenkeelError} If the model cannot take these inputs.
   */
  run(
    feeds: Readonly<Record<string, SessionTensor>>,
    outputs?: readonly string[],
  ): Promise<Record<string, SessionOutput>>;
}
