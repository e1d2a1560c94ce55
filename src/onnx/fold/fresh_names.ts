/**
 * Names for new values.
 *
 * @module
 */

/** Gives names that no value has, and none twice. */
export class FreshNames {
  readonly #taken: Set<string>;
  readonly #reserved = new Set<string>();
  /** What to try next behind a name that many want. */
  readonly #next = new Map<string, number>();

  /**
   * Begins with the names of a model.
   *
   * @param taken The names that are taken; {@linkcode FreshNames.take} adds to
   * them.
   */
  constructor(taken: Set<string>) {
    this.#taken = taken;
  }

  /** A name for a value, should the model turn out to need it. */
  reserve(wanted: string): string {
    let next = this.#next.get(wanted) ?? 0;
    let name: string;
    do {
      name = next === 0 ? wanted : `${wanted}_${next}`;
      next++;
    } while (this.#taken.has(name) || this.#reserved.has(name));
    this.#next.set(wanted, next);
    this.#reserved.add(name);
    return name;
  }

  /** A name for a value that the model gets. */
  take(wanted: string): string {
    const name = this.reserve(wanted);
    this.#taken.add(name);
    return name;
  }
}
