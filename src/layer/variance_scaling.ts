/**
 * The initializer whose spread depends on the fans of the weight.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import type { Initializer } from "./initializers.ts";
import {
  type JsonObject,
  numberArgument,
  serializeBuiltIn,
  type SerializedObject,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import { draw, type SeedOptions, SeedSource } from "./seed.ts";

const MODULE = "keras.initializers";

/** The standard deviation of a standard normal number within [-2, 2]. */
const TRUNCATED_STDDEV = 0.87962566103423978;

const MODES = ["fan_in", "fan_out", "fan_avg"] as const;
const DISTRIBUTIONS = [
  "uniform",
  "truncated_normal",
  "untruncated_normal",
] as const;

/** The options of the named choices, such as {@linkcode HeNormal}. */
export interface FanOptions extends SeedOptions {
  /** Keras 3.14 and later: the axes whose product is the fan in. */
  readonly inputAxes?: readonly number[] | null;
  /** Keras 3.14 and later: the axes whose product is the fan out. */
  readonly outputAxes?: readonly number[] | null;
}

/** The options of {@linkcode VarianceScaling}. */
export interface VarianceScalingOptions extends FanOptions {
  /** What the variance is a fraction of; above 0, 1 by default. */
  readonly scale?: number;
  /** `"fan_in"` (the default), `"fan_out"` or their mean, `"fan_avg"`. */
  readonly mode?: string;
  /**
   * `"truncated_normal"` (the default; also `"normal"`),
   * `"untruncated_normal"` or `"uniform"`, in any case.
   */
  readonly distribution?: string;
}

function product(shape: readonly number[], axes: readonly number[]): number {
  return axes.reduce((fan, axis) => {
    const extent = shape.at(axis);
    if (extent === undefined) {
      throw new ShapeError(
        `Cannot compute the fans of shape [${
          shape.join(", ")
        }]: it has no axis ${axis}`,
      );
    }
    return fan * extent;
  }, 1);
}

/** Keras' `compute_fans`: a kernel is (...receptive field, inputs, outputs). */
function fansOf(shape: readonly number[]): [fanIn: number, fanOut: number] {
  const rank = shape.length;
  if (rank === 0) return [1, 1];
  if (rank === 1) return [shape[0]!, shape[0]!];
  const field = shape.slice(0, -2).reduce((area, extent) => area * extent, 1);
  return [shape[rank - 2]! * field, shape[rank - 1]! * field];
}

function choice<T extends string>(
  owner: string,
  name: string,
  value: unknown,
  allowed: readonly T[],
): T {
  if (allowed.includes(value as T)) return value as T;
  throw new OptionError(
    `Cannot make ${owner}: invalid ${name} argument, expected ${
      allowed.map((one) => `"${one}"`).join(", ")
    }, got ${show(value)}`,
  );
}

function axesArgument(
  owner: string,
  name: string,
  value: unknown,
): readonly number[] | null | undefined {
  if (value === undefined || value === null) return value;
  if (Array.isArray(value) && value.every(Number.isInteger)) {
    return value as number[];
  }
  throw new OptionError(
    `Cannot make ${owner}: expected ${name} to be null or a list of integers, got ${
      show(value)
    }`,
  );
}

/**
 * Random values whose variance is `scale / max(1, n)`, for `n` the fan in, the
 * fan out or their mean.
 *
 * The fans of a vector of C channels, as all weights of BatchNormalization
 * with one axis are, are both C.
 *
 * @example Usage
 * ```ts
 * import { assert } from "@std/assert";
 * import { VarianceScaling } from "@evenkeel/evenkeel";
 *
 * const options = { scale: 2, mode: "fan_out", distribution: "uniform", seed: 1 };
 * const values = new VarianceScaling(options).call([64]);
 * assert(values.every((value) => Math.abs(value) <= Math.sqrt(3 * 2 / 64)));
 * ```
 */
export class VarianceScaling implements Initializer {
  /** The name of the Keras class. */
  get className(): string {
    return "VarianceScaling";
  }
  readonly #scale: number;
  readonly #mode: typeof MODES[number];
  readonly #distribution: typeof DISTRIBUTIONS[number];
  readonly #axes: FanOptions;
  readonly #seed: SeedSource;

  /**
   * Makes the initializer.
   *
   * @param options The scale, the mode, the distribution and the seed.
   *
   * @throws {OptionError} If the scale is not a positive number, or the mode,
   * the distribution or the seed is none.
   */
  constructor(options: VarianceScalingOptions = {}) {
    const owner = this.className;
    const { mode = "fan_in", distribution = "truncated_normal" } = options;
    this.#scale = numberArgument(owner, "scale", options.scale, 1);
    if (this.#scale <= 0) {
      throw new OptionError(
        `Cannot make ${owner}: expected scale to be a positive number, got ${this.#scale}`,
      );
    }
    this.#mode = choice(owner, "mode", mode, MODES);
    const lower = typeof distribution === "string"
      ? distribution.toLowerCase()
      : distribution;
    this.#distribution = choice(
      owner,
      "distribution",
      lower === "normal" ? "truncated_normal" : lower,
      DISTRIBUTIONS,
    );
    const inputAxes = axesArgument(owner, "input_axes", options.inputAxes);
    const outputAxes = axesArgument(owner, "output_axes", options.outputAxes);
    this.#axes = {
      ...inputAxes === undefined ? {} : { inputAxes },
      ...outputAxes === undefined ? {} : { outputAxes },
    };
    this.#seed = new SeedSource(owner, options.seed);
  }

  /** `scale / max(1, n)` for a shape. */
  #varianceFor(shape: readonly number[]): number {
    const { inputAxes, outputAxes } = this.#axes;
    const [fanIn, fanOut] = inputAxes && outputAxes
      ? [product(shape, inputAxes), product(shape, outputAxes)]
      : fansOf(shape);
    const fans = {
      fan_in: fanIn,
      fan_out: fanOut,
      fan_avg: (fanIn + fanOut) / 2,
    };
    return this.#scale / Math.max(1, fans[this.#mode]);
  }

  /**
   * Values for a shape.
   *
   * @throws {ShapeError} If the shape lacks one of the axes of the fans.
   */
  call(shape: readonly number[]): Float64Array {
    const variance = this.#varianceFor(shape);
    const random = this.#seed.next();
    if (this.#distribution === "uniform") {
      const limit = Math.sqrt(3 * variance);
      return draw(shape, () => limit * (2 * random.uniform() - 1));
    }
    if (this.#distribution === "untruncated_normal") {
      const stddev = Math.sqrt(variance);
      return draw(shape, () => stddev * random.normal());
    }
    const stddev = Math.sqrt(variance) / TRUNCATED_STDDEV;
    return draw(shape, () => stddev * random.truncatedNormal());
  }

  /** The arguments beside the seed and the axes. */
  protected ownConfig(): JsonObject {
    return {
      scale: this.#scale,
      mode: this.#mode,
      distribution: this.#distribution,
    };
  }

  /**
   * The JSON that Keras writes.
   *
   * Keras 3.14 and later add `input_axes` and `output_axes`, mostly null, and
   * earlier ones refuse them: they are written where they were given.
   */
  toConfig(version: KerasVersion): SerializedObject {
    const { inputAxes, outputAxes } = this.#axes;
    const config: JsonObject = {
      ...this.#seed.addTo(this.ownConfig(), version),
      ...version !== "3" || inputAxes === undefined
        ? {}
        : { input_axes: inputAxes },
      ...version !== "3" || outputAxes === undefined
        ? {}
        : { output_axes: outputAxes },
    };
    return serializeBuiltIn(MODULE, this.className, config, version);
  }
}
