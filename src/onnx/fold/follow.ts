/**
 * Questions that a value answers, or passes on to the next value.
 *
 * @module
 */

import type { Value } from "../scopes.ts";

/** An answer, or who knows it; neither if no one does. */
export type Step<T> = { readonly answer: T } | { readonly next: Value };

/**
 * Follows values to the one that has the answer, which all on the way share:
 * each value is asked once, however many ways lead through it.
 */
export class Follower<T> {
  readonly #answers = new Map<Value, T | undefined>();
  readonly #step: (value: Value) => Step<T> | undefined;

  /**
   * Begins without answers.
   *
   * @param step Asks one value. It must always tell the same.
   */
  constructor(step: (value: Value) => Step<T> | undefined) {
    this.#step = step;
  }

  /** The answer; undefined if no one has it, or the way leads back to itself. */
  ask(start: Value): T | undefined {
    const way: Value[] = [];
    let answer: T | undefined;
    for (let value = start;;) {
      if (this.#answers.has(value)) {
        answer = this.#answers.get(value);
        break;
      }
      // Values on the way have no answer until it is found.
      this.#answers.set(value, undefined);
      way.push(value);
      const step = this.#step(value);
      if (!step) break;
      if ("answer" in step) {
        answer = step.answer;
        break;
      }
      value = step.next;
    }
    for (const value of way) this.#answers.set(value, answer);
    return answer;
  }
}
