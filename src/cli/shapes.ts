/**
 * Which input shape to use for a layer when only its Keras file is known.
 *
 * @module
 */

import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { UsageError } from "./command.ts";

/** A shape; null for extents that vary. */
export type InputShape = readonly (number | null)[];

/**
 * Reads `--input-shape`: extents with commas, `?` for those that vary.
 *
 * @throws {UsageError} If it is anything else.
 */
export function parseShape(text: string): InputShape {
  return text.split(",").map((part) => {
    const extent = part.trim();
    // What Python and ONNX tools write for "any".
    if (["?", "-1", "None", "null"].includes(extent)) return null;
    if (!/^\d+$/.test(extent) || Number(extent) === 0) {
      throw new UsageError(
        `Cannot read the input shape "${text}": expected positive integers and ? with commas between, such as ?,224,224,64; got "${part}"`,
      );
    }
    return Number(extent);
  });
}

/** A shape as `--input-shape` takes it. */
export function formatShape(shape: InputShape): string {
  return shape.map((extent) => extent ?? "?").join(",");
}

/** The extents of a layer's kept axes, from its parameters. */
function keptExtents(layer: BatchNormalization): readonly number[] {
  return layer.movingMean.dims;
}

/**
 * The smallest shape that a layer's axis and parameters fit, and whether its
 * rank is certain.
 *
 * Parameters of several axes have the input's rank. A single axis tells only
 * the least: axis 1 may be that of a matrix or of a channels-first image, 2 of
 * a sequence or of an image's width, and -1 of anything.
 */
export function guessShape(
  layer: BatchNormalization,
): { shape: InputShape; certain: boolean } {
  const extents = keptExtents(layer);
  const { axis, virtualBatchSize } = layer.options;
  const axes = typeof axis === "number" ? [axis] : axis;
  if (extents.length > 1) {
    // Several axes: the parameters have the input's rank, 1s elsewhere; ghost
    // batches insert one dimension at index 1.
    const full = virtualBatchSize === null
      ? extents
      : extents.filter((_, d) => d !== 1);
    const kept = axes.map((a) => (a < 0 ? a + full.length : a));
    return {
      shape: full.map((extent, d) => (kept.includes(d) ? extent : null)),
      certain: true,
    };
  }
  const [channels] = extents;
  const [a = -1] = axes;
  const rank = a < 0 ? Math.max(2, -a + 1) : Math.max(2, a + 1);
  const shape: (number | null)[] = new Array(rank).fill(null);
  shape[a < 0 ? a + rank : a] = channels!;
  return { shape, certain: false };
}

/** A shape with every varying extent set, for a trial run. */
export function concreteShape(
  shape: InputShape,
  batch: number,
  extent: number,
): number[] {
  return shape.map((known, d) => known ?? (d === 0 ? batch : extent));
}
