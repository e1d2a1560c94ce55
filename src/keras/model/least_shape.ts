/**
 * What a layer itself tells about the shape of its input.
 *
 * @module
 */

import { ShapeError } from "../../errors.ts";
import type { BatchNormalization } from "../../layer/batch_normalization.ts";

/** A shape; null for extents that vary. */
export type InputShape = readonly (number | null)[];

/** The least shape that fits a layer. */
export interface LeastShape {
  readonly shape: InputShape;
  /** Whether every input that fits the layer has this rank. */
  readonly certain: boolean;
}

/** A layer's axes, and the extents of its variables without ghost batches' dimension. */
interface Kept {
  readonly axes: readonly number[];
  readonly dims: readonly number[];
}

function keptOf({ options, movingMean }: BatchNormalization): Kept {
  const { axis, virtualBatchSize } = options;
  const { dims } = movingMean;
  return {
    axes: typeof axis === "number" ? [axis] : axis,
    // Ghost batches insert one dimension at index 1.
    dims: dims.length > 1 && virtualBatchSize !== null
      ? dims.filter((_, d) => d !== 1)
      : dims,
  };
}

/**
 * A shape of some rank with the extents that the layer's variables have.
 *
 * @throws {ShapeError} If the layer has no such axes, or its variables do not
 * fit them.
 */
export function shapeOfRank(
  layer: BatchNormalization,
  rank: number,
): InputShape {
  const { axes, dims } = keptOf(layer);
  const kept = axes.map((axis) => axis < 0 ? axis + rank : axis);
  const fits = dims.length === 1
    ? kept.length === 1
    : dims.length === rank && kept.length > 0;
  if (!fits || kept.some((axis) => !(axis >= 0 && axis < rank))) {
    throw new ShapeError(
      `Cannot use an input of rank ${rank} for a layer whose axis is [${
        axes.join(", ")
      }], with variables of shape [${dims.join(", ")}]`,
    );
  }
  const shape = new Array<number | null>(rank).fill(null);
  for (const axis of kept) {
    shape[axis] = dims.length === 1 ? dims[0]! : dims[axis]!;
  }
  return shape;
}

/**
 * The shape of the least rank that a layer's axis and variables fit, no less
 * than a batch of vectors.
 *
 * Variables of several axes have the input's rank, and a layer that is built
 * knows where an axis from the end is. Otherwise a single axis tells only the
 * least: axis 1 may be that of a matrix or of a channels-first image, 2 of a
 * sequence or of an image's width, and -1 of anything.
 *
 * @throws {ShapeError} If the layer's variables do not fit its axes.
 */
export function leastShape(layer: BatchNormalization): LeastShape {
  const { axes, dims } = keptOf(layer);
  if (dims.length > 1) {
    return { shape: shapeOfRank(layer, dims.length), certain: true };
  }
  const [axis = -1] = axes;
  const built = layer.axes?.[0];
  const certain = axis < 0 && built !== undefined;
  const rank = certain
    ? built - axis
    : Math.max(2, axis < 0 ? 1 - axis : axis + 1);
  return { shape: shapeOfRank(layer, rank), certain };
}
