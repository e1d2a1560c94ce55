/**
 * What a state consists of, to and from the form in which it is saved.
 *
 * @module
 */

import { EvenkeelError, FormatError } from "../errors.ts";
import { type Axis, checkAxis } from "../layer/axis.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import { isObject, type JsonObject } from "../layer/keras_object.ts";
import { elementCount, type Tensor } from "../tensor.ts";
import type { Optimizer } from "./optimizer.ts";
import {
  loadLayer,
  loadOptimizer,
  saveLayer,
  saveOptimizer,
} from "./saved_parts.ts";
import type { Snapshot } from "./snapshot.ts";
import { malformed } from "./tensor_bytes.ts";
import type { WideMoments } from "./wide_moments.ts";

/** All that a state holds. */
export interface StateContents {
  /** The kept axis or axes. */
  readonly axis: Axis;
  /** The extents of the kept axes, once they are known. */
  readonly shape: readonly number[] | undefined;
  /** The moments, once there is a batch. */
  readonly moments: WideMoments | undefined;
  /** The layer that is trained. */
  readonly layer: BatchNormalization | undefined;
  /** Its optimizer. */
  readonly optimizer: Optimizer | undefined;
}

/**
 * Lays a state out.
 *
 * @throws {UnsupportedError} If layer or optimizer cannot be loaded again.
 */
export function saveState(state: StateContents): Snapshot {
  const { axis, shape = null, moments } = state;
  const layer = state.layer && saveLayer(state.layer);
  const optimizer = state.optimizer && saveOptimizer(state.optimizer);
  const vectors = moments ? [moments.mean, moments.low, moments.m2] : [];
  return {
    header: {
      axis,
      shape,
      count: moments?.count ?? 0,
      layer: layer?.header ?? null,
      optimizer: optimizer?.header ?? null,
    },
    tensors: [
      ...vectors.map((data): Tensor => ({
        type: "float64",
        dims: [data.length],
        data,
      })),
      ...layer?.tensors ?? [],
      ...optimizer?.tensors ?? [],
    ],
  };
}

/** Takes the next tensors of a state. */
type Take = (count: number) => Tensor[];

/** The tensors of a state, one after the other; `left` says how many are. */
function taking(
  tensors: readonly Tensor[],
): { take: Take; left: () => number } {
  let next = 0;
  const take: Take = (count) => {
    if (
      !Number.isInteger(count) || count < 0 || next + count > tensors.length
    ) {
      throw malformed("it has fewer tensors than it should");
    }
    next += count;
    return tensors.slice(next - count, next);
  };
  return { take, left: () => tensors.length - next };
}

function readShape(shape: unknown): readonly number[] | undefined {
  if (shape === null) return undefined;
  if (
    Array.isArray(shape) &&
    shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)
  ) return shape;
  throw malformed("its shape is no list of extents");
}

function readMoments(
  shape: readonly number[] | undefined,
  count: unknown,
  take: Take,
): WideMoments | undefined {
  if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw malformed("its count is no non-negative integer");
  }
  if (!shape) {
    if (count === 0) return undefined;
    throw malformed("it has elements, but no channels");
  }
  const channels = elementCount(shape);
  const [mean, low, m2] = take(3).map(({ type, data }) => {
    if (type === "float64" && data.length === channels) {
      return data as Float64Array;
    }
    throw malformed("its moments do not fit its shape");
  });
  return { count, mean: mean!, low: low!, m2: m2! };
}

/** What a part of the header makes; undefined where it is null. */
function readPart<T>(
  name: string,
  saved: unknown,
  take: Take,
  load: (header: JsonObject, take: Take) => T,
): T | undefined {
  if (saved === null) return undefined;
  if (!isObject(saved)) throw malformed(`it has no valid ${name}`);
  return load(saved as JsonObject, take);
}

/**
 * Reads what {@linkcode saveState} laid out.
 *
 * @throws {FormatError} If it is something else.
 */
export function loadState({ header, tensors }: Snapshot): StateContents {
  const { take, left } = taking(tensors);
  try {
    const axis = checkAxis(header.axis, "2.4");
    const shape = readShape(header.shape);
    const moments = readMoments(shape, header.count, take);
    const layer = readPart("layer", header.layer, take, loadLayer);
    const optimizer = readPart(
      "optimizer",
      header.optimizer,
      take,
      loadOptimizer,
    );
    if (left() > 0) throw malformed("it has more tensors than it should");
    return { axis, shape, moments, layer, optimizer };
  } catch (error) {
    // What a layer or an optimizer refuses is the file's fault here.
    if (error instanceof EvenkeelError && !(error instanceof FormatError)) {
      throw malformed(error.message, error);
    }
    throw error;
  }
}
