/**
 * The regularizers L1, L2 and L1L2.
 *
 * @module
 */

import { OptionError } from "../errors.ts";
import {
  type JsonObject,
  serializeBuiltIn,
  type SerializedObject,
  show,
} from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import type { Regularizer } from "./regularizers.ts";

/**
 * Checks the coefficient of a penalty.
 *
 * @throws {OptionError} If it is not a finite number, or is negative where
 * Keras 3's rules apply.
 */
export function penaltyNumber(
  name: string,
  value: unknown,
  version: KerasVersion,
): number {
  const allowed = typeof value === "number" && Number.isFinite(value) &&
    (version !== "3" || value >= 0);
  if (allowed) return value;
  throw new OptionError(
    `Cannot use ${name} ${
      typeof value === "number" ? value : show(value)
    } as a regularization penalty: expected a finite ${
      version === "3" ? "non-negative " : ""
    }number`,
  );
}

/** A coefficient as Keras holds it: in float32 up to Keras 2, then as given. */
function coefficientIn(version: KerasVersion, value: number): number {
  return version === "3" ? value : Math.fround(value);
}

/** The option that all penalties have. */
export interface PenaltyOptions {
  /**
   * Whose rules apply: Keras 2 rounds coefficients to float32, Keras 3 refuses
   * negative ones. `"2.4"` by default.
   */
  readonly kerasVersion?: KerasVersion;
}

/** The options of {@linkcode L1}. */
export interface L1Options extends PenaltyOptions {
  /** The coefficient; 0.01 by default. */
  readonly l1?: number | null;
  /** The older name of `l1`, which it overrides. */
  readonly l?: number | null;
}

/** The options of {@linkcode L2}. */
export interface L2Options extends PenaltyOptions {
  /** The coefficient; 0.01 by default. */
  readonly l2?: number | null;
  /** The older name of `l2`, which it overrides. */
  readonly l?: number | null;
}

/** The options of {@linkcode L1L2}. */
export interface L1L2Options extends PenaltyOptions {
  /** The coefficient of the magnitudes; 0 by default. */
  readonly l1?: number | null;
  /** The coefficient of the squares; 0 by default. */
  readonly l2?: number | null;
}

/** `l1 * sum(|w|) + l2 * sum(w^2)`; a coefficient of 0 leaves its term out. */
export abstract class Penalty implements Regularizer {
  /** The name of the Keras class. */
  abstract readonly className: string;
  /** The coefficient of the magnitudes. */
  protected readonly l1: number;
  /** The coefficient of the squares. */
  protected readonly l2: number;

  /** Keeps the two coefficients, checked and rounded. */
  constructor(l1: number, l2: number) {
    this.l1 = l1;
    this.l2 = l2;
  }

  /** The penalty. */
  loss(weights: ArrayLike<number>): number {
    let magnitudes = 0;
    let squares = 0;
    for (let i = 0; i < weights.length; i++) {
      const w = weights[i]!;
      magnitudes += Math.abs(w);
      squares += w * w;
    }
    return (this.l1 && this.l1 * magnitudes) + (this.l2 && this.l2 * squares);
  }

  /** Adds the derivative, `l1 * sign(w) + 2 * l2 * w`; at 0, sign is 0. */
  gradient(weights: ArrayLike<number>, into: Float64Array): void {
    for (let i = 0; i < weights.length; i++) {
      const w = weights[i]!;
      into[i]! += (this.l1 && this.l1 * Math.sign(w)) +
        (this.l2 && 2 * this.l2 * w);
    }
  }

  /** The arguments in the precision of a Keras version. */
  protected abstract config(version: KerasVersion): JsonObject;

  /** The JSON that Keras writes. */
  toConfig(version: KerasVersion): SerializedObject {
    return serializeBuiltIn(
      "keras.regularizers",
      this.className,
      this.config(version),
      version,
    );
  }
}

/** `l1 * sum(|w|)`. */
export class L1 extends Penalty {
  /** The name of the Keras class. */
  override readonly className: string = "L1";

  /**
   * Makes the regularizer.
   *
   * @param options The coefficient.
   *
   * @throws {OptionError} If the coefficient is no finite number.
   */
  constructor(options: L1Options = {}) {
    const { l1 = null, l = l1, kerasVersion = "2.4" } = options;
    // Keras 3 keeps this one, but not L2's, as a float32 tensor.
    super(Math.fround(penaltyNumber("l1", l ?? 0.01, kerasVersion)), 0);
  }

  /** The arguments in the precision of a Keras version. */
  protected override config(): JsonObject {
    return { l1: this.l1 };
  }
}

/** `l2 * sum(w^2)`. */
export class L2 extends Penalty {
  /** The name of the Keras class. */
  override readonly className: string = "L2";

  /**
   * Makes the regularizer.
   *
   * @param options The coefficient.
   *
   * @throws {OptionError} If the coefficient is no finite number.
   */
  constructor(options: L2Options = {}) {
    const { l2 = null, l = l2, kerasVersion = "2.4" } = options;
    const given = penaltyNumber("l2", l ?? 0.01, kerasVersion);
    super(0, coefficientIn(kerasVersion, given));
  }

  /** The arguments in the precision of a Keras version. */
  protected override config(version: KerasVersion): JsonObject {
    return { l2: coefficientIn(version, this.l2) };
  }
}

/**
 * `l1 * sum(|w|) + l2 * sum(w^2)`.
 *
 * @example Usage
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { L1L2 } from "@evenkeel/evenkeel";
 *
 * const regularizer = new L1L2({ l1: 0.5, l2: 0.25 });
 * const gradient = new Float64Array(2);
 * regularizer.gradient([-2, 4], gradient);
 * assertEquals(regularizer.loss([-2, 4]), 0.5 * 6 + 0.25 * 20);
 * assertEquals([...gradient], [-1.5, 2.5]);
 * ```
 */
export class L1L2 extends Penalty {
  /** The name of the Keras class. */
  override readonly className: string = "L1L2";

  /**
   * Makes the regularizer.
   *
   * @param options The two coefficients.
   *
   * @throws {OptionError} If a coefficient is no finite number.
   */
  constructor(options: L1L2Options = {}) {
    const { l1, l2, kerasVersion = "2.4" } = options;
    const magnitude = penaltyNumber("l1", l1 ?? 0, kerasVersion);
    const square = penaltyNumber("l2", l2 ?? 0, kerasVersion);
    super(
      coefficientIn(kerasVersion, magnitude),
      coefficientIn(kerasVersion, square),
    );
  }

  /** The arguments in the precision of a Keras version. */
  protected override config(version: KerasVersion): JsonObject {
    return {
      l1: coefficientIn(version, this.l1),
      l2: coefficientIn(version, this.l2),
    };
  }
}

/** Keras' function `l1_l2`, whose defaults differ from those of the class. */
export class L1L2Function extends L1L2 {
  /** Makes the regularizer; both coefficients are 0.01 by default. */
  constructor(options: L1L2Options = {}) {
    super({ ...options, l1: options.l1 ?? 0.01, l2: options.l2 ?? 0.01 });
  }
}
