/**
 * What a layer fixes when the shape of its input is first known.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import { resolveAxes, resolveFused } from "./axis.ts";
import { sameDims, type Tensor } from "../tensor.ts";
import type { InputSpec } from "./input_spec.ts";
import type { ResolvedOptions } from "./options.ts";
import { parameterShape } from "./weights.ts";

/** A layer's axes, path and parameter shape for one rank. */
export interface Built {
  /** What later inputs must fit. */
  readonly spec: InputSpec;
  /** The rank of the input. */
  readonly rank: number;
  /** The kept axes, non-negative and ascending. */
  readonly axes: readonly number[];
  /** Whether TensorFlow would run its fused operator. */
  readonly fused: boolean;
  /** The shape of every variable. */
  readonly parameterShape: readonly number[];
}

function checkVirtualBatch(
  name: string,
  { virtualBatchSize, adjustment }: ResolvedOptions,
  axes: readonly number[],
): void {
  if (virtualBatchSize === null) return;
  if (!(virtualBatchSize > 0) || !Number.isInteger(virtualBatchSize)) {
    throw new OptionError(
      `Cannot build layer "${name}": virtualBatchSize must be a positive integer that divides the true batch size, got ${virtualBatchSize}`,
    );
  }
  if (axes.includes(0)) {
    throw new OptionError(
      `Cannot build layer "${name}": with virtualBatchSize, the batch dimension must be 0 and thus axis cannot include 0`,
    );
  }
  if (adjustment !== null) {
    throw new OptionError(
      `Cannot build layer "${name}": with virtualBatchSize, adjustment cannot be specified`,
    );
  }
}

/**
 * Resolves a layer's options against an input, in Keras' order of checks.
 *
 * @param name The layer's name for messages.
 * @param options The layer's options.
 * @param inputShape The input's shape; null for extents that may vary.
 *
 * @throws {ShapeError} If the rank is 0, an axis does not fit, a kept extent
 * is unknown, or the fused path was requested and cannot run.
 * @throws {OptionError} If `virtualBatchSize` is not positive, comes with an
 * adjustment, or with an axis that is the batch.
 */
export function resolveBuild(
  name: string,
  options: ResolvedOptions,
  inputShape: readonly (number | null)[],
): Built {
  const rank = inputShape.length;
  if (rank === 0) {
    throw new ShapeError(
      `Cannot build layer "${name}": input has undefined rank, expected at least one dimension`,
    );
  }
  const axes = resolveAxes(options.axis, rank, name);
  checkVirtualBatch(name, options, axes);
  const { fused, kerasVersion, virtualBatchSize } = options;
  const runsFused = resolveFused(fused, axes, rank, kerasVersion, name);
  const extents = axes.map((axis) => {
    const extent = inputShape[axis];
    if (typeof extent !== "number") {
      throw new ShapeError(
        `Cannot build layer "${name}": input has an undefined extent at axis ${axis} in shape [${
          inputShape.map((e) => e ?? "null").join(", ")
        }]`,
      );
    }
    return extent;
  });
  return {
    spec: { rank, axes, extents },
    rank,
    axes,
    fused: runsFused,
    parameterShape: parameterShape(inputShape, axes, virtualBatchSize !== null),
  };
}

/**
 * Checks that weights which were set before fit what a layer is built for.
 * They have one shape, as setting them checked.
 *
 * @throws {ShapeError} If they do not.
 */
export function checkWeightShape(
  name: string,
  { dims }: Tensor,
  { parameterShape }: Built,
  inputShape: readonly (number | null)[],
): void {
  if (sameDims(dims, parameterShape)) return;
  throw new ShapeError(
    `Cannot build layer "${name}": expected an input of shape [${
      inputShape.map((extent) => extent ?? "?").join(", ")
    }] to have weights of shape [${parameterShape.join(", ")}], got [${
      dims.join(", ")
    }]`,
  );
}
