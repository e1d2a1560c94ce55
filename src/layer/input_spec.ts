/**
 * What a built layer expects of its inputs.
 *
 * @module
 */

import { OptionError, ShapeError } from "../errors.ts";
import {
  elementCount,
  type ElementType,
  holdsType,
  isElementType,
  sameDims,
  type Tensor,
} from "../tensor.ts";

/** The rank and the extents that were fixed when a layer was built. */
export interface InputSpec {
  /** The number of dimensions. */
  readonly rank: number;
  /** The kept axes, ascending. */
  readonly axes: readonly number[];
  /** The extent of each kept axis. */
  readonly extents: readonly number[];
}

/**
 * Checks that a value is a well-formed tensor.
 *
 * @param value What is given.
 * @param what What it is, for messages.
 * @param layer The layer whose it is, if it is one's: a text made of both by
 * the caller would be made for every call.
 *
 * @throws {OptionError} If its type is none of ours or its array does not
 * hold that type.
 * @throws {ShapeError} If it has not as many elements as its shape says.
 */
export function checkTensor(value: Tensor, what: string, layer?: string): void {
  if (!isElementType(value?.type)) {
    throw new OptionError(
      `Cannot use ${
        nameOf(what, layer)
      }: expected a tensor of type float32, float64, float16 or bfloat16, got ${
        value?.type === undefined ? typeof value : `type "${value.type}"`
      }`,
    );
  }
  if (!holdsType(value.type, value.data)) {
    throw new OptionError(
      `Cannot use ${
        nameOf(what, layer)
      }: a ${value.type} tensor cannot have its data in ${
        (value.data as object | undefined)?.constructor?.name ?? "nothing"
      }`,
    );
  }
  const count = elementCount(value.dims);
  if (value.data.length !== count) {
    throw new ShapeError(
      `Cannot use ${nameOf(what, layer)} of shape [${
        value.dims.join(", ")
      }]: expected ${count} values, got ${value.data.length}`,
    );
  }
}

function nameOf(what: string, layer: string | undefined): string {
  return layer === undefined ? what : `${what} of layer "${layer}"`;
}

/** A shape in a message; `?` for extents that vary. */
function format(shape: readonly (number | null)[]): string {
  return `[${shape.map((extent) => extent ?? "?").join(", ")}]`;
}

/**
 * Checks that a shape fits what a layer was built for.
 *
 * @throws {ShapeError} If the rank or a kept extent differs.
 */
export function checkAgainstSpec(
  layer: string,
  spec: InputSpec,
  shape: readonly (number | null)[],
): void {
  if (shape.length !== spec.rank) {
    throw new ShapeError(
      `Input of layer "${layer}" is incompatible with the layer: expected rank ${spec.rank}, got rank ${shape.length} with shape ${
        format(shape)
      }`,
    );
  }
  const { axes, extents } = spec;
  for (let i = 0; i < axes.length; i++) {
    const axis = axes[i]!;
    if (shape[axis] !== extents[i]) {
      throw new ShapeError(
        `Input of layer "${layer}" is incompatible with the layer: expected axis ${axis} to have extent ${
          extents[i]
        }, got shape ${format(shape)}`,
      );
    }
  }
}

/**
 * Checks a tensor that must have the shape of another and a type.
 *
 * @throws {OptionError} If its type is another.
 * @throws {ShapeError} If its shape is another.
 */
export function checkLike(
  value: Tensor,
  type: ElementType,
  dims: readonly number[],
  what: string,
  layer?: string,
): void {
  checkTensor(value, what, layer);
  if (value.type !== type) {
    throw new OptionError(
      `Cannot use ${
        nameOf(what, layer)
      }: expected type ${type}, in which the layer computes, got ${value.type}`,
    );
  }
  if (!sameDims(value.dims, dims)) {
    throw new ShapeError(
      `Cannot use ${nameOf(what, layer)}: expected shape [${
        dims.join(", ")
      }], got [${value.dims.join(", ")}]`,
    );
  }
}
