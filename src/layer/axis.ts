/**
 * Keras' rules for the `axis` argument and for the fused path that depends on
 * it.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import type { ElementType } from "../tensor.ts";
import type { KerasVersion } from "./keras_version.ts";

/** `axis` as given: one dimension or a list of them, negative from the end. */
export type Axis = number | readonly number[];

/** What decides whether TensorFlow's fused operator runs. */
export interface FusedConditions {
  /** The unresolved axis. */
  readonly axis: Axis;
  /** Whether batch renormalization is on. */
  readonly renorm: boolean;
  /** The size of a ghost batch, or null. */
  readonly virtualBatchSize: number | null;
  /** Whether there is an adjustment function. */
  readonly hasAdjustment: boolean;
  /** What the layer computes in. */
  readonly compute: ElementType;
  /** The release to follow. */
  readonly kerasVersion: KerasVersion;
}

/** Raw axes that the constructor accepts for the fused path, by release. */
const FUSED_AXES: Readonly<Record<KerasVersion, readonly number[]>> = {
  "2.4": [-3, -1, 1, 3],
  "2.6": [-4, -3, -1, 1, 3, 4],
  "2.12": [-4, -3, -1, 1, 3, 4],
  "3": [],
};

/** Formats an axis for a message: `3` or `[1, 3]`. */
export function formatAxis(axis: Axis): string {
  return typeof axis === "number" ? `${axis}` : `[${axis.join(", ")}]`;
}

/**
 * Checks the `axis` argument as the constructor does: an integer or a list of
 * integers; range and duplicates wait for the rank.
 *
 * @throws {OptionError} If it is anything else, or a list in Keras 3.
 */
export function checkAxis(axis: unknown, kerasVersion: KerasVersion): Axis {
  if (typeof axis === "number" && Number.isSafeInteger(axis)) return axis;
  if (Array.isArray(axis) && axis.every((a) => Number.isSafeInteger(a))) {
    if (kerasVersion === "3") {
      throw new OptionError(
        `Cannot use axis ${
          formatAxis(axis)
        }: Keras 3 takes one integer; use kerasVersion "2.4", "2.6" or "2.12" for a list`,
      );
    }
    return [...axis];
  }
  throw new OptionError(
    `Cannot use axis ${
      JSON.stringify(axis) ?? String(axis)
    }: expected an integer or a list of integers`,
  );
}

/**
 * Why the fused path cannot be used, in Keras' order of checks
 * (`_raise_if_fused_cannot_be_used`), or undefined if it can.
 *
 * @throws {OptionError} If the list of axes is empty and no earlier rule
 * decides: Keras fails there with an IndexError.
 */
export function whyNotFused(conditions: FusedConditions): string | undefined {
  const { axis, kerasVersion } = conditions;
  if (kerasVersion === "3") return "Keras 3 has no fused path";
  if (conditions.renorm) return "renorm is on";
  const axes = typeof axis === "number" ? [axis] : axis;
  if (axes.length === 0) {
    throw new OptionError(
      "Cannot use an empty list of axes: name at least one axis, or pass fused: false to normalize over all of them",
    );
  }
  if (axes.length > 1 || !FUSED_AXES[kerasVersion].includes(axes[0]!)) {
    return `axis is ${formatAxis(axis)}, and it runs over axis 1 or 3 only` +
      (kerasVersion === "2.4" ? "" : " (rank 4), or 1 or 4 (rank 5)");
  }
  if (conditions.virtualBatchSize !== null) return "virtualBatchSize is given";
  if (conditions.hasAdjustment) return "adjustment is given";
  if (conditions.compute === "float64") return "the layer computes in float64";
  return undefined;
}

/**
 * Resolves axes against a rank: non-negative and ascending (Keras accepts any
 * order and treats it as sorted).
 *
 * @param axis The axis or axes.
 * @param rank The rank of the input.
 * @param layer The layer's name for messages.
 *
 * @throws {ShapeError} If one is out of range or named twice.
 */
export function resolveAxes(axis: Axis, rank: number, layer: string): number[] {
  const given = typeof axis === "number" ? [axis] : axis;
  const axes = given.map((a) => (a < 0 ? a + rank : a));
  axes.forEach((a, i) => {
    if (a < 0 || a >= rank) {
      throw new ShapeError(
        `Cannot build layer "${layer}": invalid axis ${
          given[i]
        } for an input of rank ${rank}, expected ${-rank} to ${rank - 1}`,
      );
    }
  });
  if (new Set(axes).size !== axes.length) {
    throw new ShapeError(
      `Cannot build layer "${layer}": duplicate axis in ${
        formatAxis(axis)
      } for an input of rank ${rank}`,
    );
  }
  return axes.sort((a, b) => a - b);
}

/**
 * Whether the fused path runs, once the rank is known.
 *
 * @param requested The `fused` argument after construction: true, false, or
 * null for "where possible".
 * @param axes The resolved axes.
 * @param rank The rank of the input.
 * @param kerasVersion The release to follow.
 * @param layer The layer's name for messages.
 *
 * @throws {ShapeError} If it was requested and the rank or axis forbids it;
 * also, as in Keras, where `axis` passed the constructor but names the batch
 * dimension of a rank that would be fused.
 */
export function resolveFused(
  requested: boolean | null,
  axes: readonly number[],
  rank: number,
  kerasVersion: KerasVersion,
  layer: string,
): boolean {
  if (requested === false || kerasVersion === "3") return false;
  const ranks = kerasVersion === "2.4" ? [4] : [4, 5];
  if (!ranks.includes(rank)) {
    if (requested === null) return false;
    throw new ShapeError(
      `Cannot build layer "${layer}": fused: true needs an input of rank ${
        ranks.join(" or ")
      }, got rank ${rank}`,
    );
  }
  const axis = axes[0]!;
  if (axis === 1 || axis === rank - 1) return true;
  // Releases from 2.6 on fall back here, for rank 5 only.
  if (rank === 5) return false;
  throw new ShapeError(
    `Cannot build layer "${layer}": the fused path of rank 4 needs axis 1 or 3, got ${axis}; pass fused: false`,
  );
}
