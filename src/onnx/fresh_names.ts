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
   * @param taken The names that are taken.
   */
  constructor(taken: Iterable<string>) {
    this.#taken = new Set(taken);
  }

  /** Others that begin with the names that are taken now. */
  copy(): FreshNames {
    return new FreshNames(this.#taken);
  }

  /** Whether a value has the name. */
  has(name: string): boolean {
    return this.#taken.has(name);
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

  /** A name for a value that the model gets: a reserved one, or a new one. */
  take(wanted: string): string {
    const name = this.#reserved.has(wanted) ? wanted : this.reserve(wanted);
    this.#reserved.delete(name);
    this.#taken.add(name);
    return name;
  }
}
