/**
 * The seed of random initializers.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import { elementCount } from "../tensor.ts";
import { type JsonObject, type KerasObject, show } from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import { RandomGenerator, randomSeed } from "./random.ts";

/**
 * An integer; null for fresh values at every call; or the JSON of Keras 3's
 * `SeedGenerator`, whose calls give one independent sequence after the other.
 */
export type Seed = number | KerasObject | null;

/** The options that all random initializers have. */
export interface SeedOptions {
  /** Where the values come from; null by default. */
  readonly seed?: Seed;
}

/** A checked seed, which makes one generator for each call. */
export class SeedSource {
  readonly #json: Seed;
  readonly #key: number | null;
  readonly #advances: boolean;
  #calls = 0;

  /**
   * Checks a seed.
   *
   * @param owner The class it is for, for messages.
   * @param seed The seed.
   *
   * @throws {OptionError} If it is none.
   */
  constructor(owner: string, seed: Seed | undefined) {
    const json = seed ?? null;
    const isGenerator = typeof json === "object" && json !== null &&
      json.class_name === "SeedGenerator";
    const key: unknown = isGenerator
      ? (json.config as JsonObject).seed ?? null
      : json;
    if (key !== null && !Number.isInteger(key)) {
      throw new OptionError(
        `Cannot make ${owner}: expected seed to be an integer or null, got ${
          show(seed)
        }`,
      );
    }
    this.#json = json;
    this.#key = key as number | null;
    this.#advances = isGenerator;
  }

  /** The generator of one call. */
  next(): RandomGenerator {
    const stream = this.#advances ? this.#calls++ : 0;
    return new RandomGenerator(this.#key ?? randomSeed(), stream);
  }

  /** Adds the seed to a config: at the end in Keras 2, first in Keras 3. */
  addTo(config: JsonObject, version: KerasVersion): JsonObject {
    return version === "3"
      ? { seed: this.#json, ...config }
      : { ...config, seed: this.#key };
  }
}

/** Fills a new array with one draw for each element of a shape. */
export function draw(
  shape: readonly number[],
  next: () => number,
): Float64Array {
  const values = new Float64Array(elementCount(shape));
  for (let i = 0; i < values.length; i++) values[i] = next();
  return values;
}
