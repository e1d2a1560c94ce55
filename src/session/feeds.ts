/**
 * Checks what a caller feeds and where results shall go.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import {
  elementTypeNamed,
  type OnnxData,
  type OnnxType,
} from "../onnx/element_types.ts";
import { elementCount, halfBits, holdsType } from "../tensor.ts";
import type { InputPort } from "./program.ts";
import type { SessionTensor } from "./types.ts";

function describe(dims: readonly unknown[]): string {
  return `[${dims.map((extent) => extent ?? "?").join(", ")}]`;
}

/** The elements of a tensor, checked to be of a type; float16 as bits. */
function elementsOf(
  what: string,
  tensor: SessionTensor,
  type: OnnxType,
): OnnxData {
  if (typeof tensor !== "object" || tensor === null) {
    throw new OptionError(
      `Cannot use ${what}: expected a tensor, got ${tensor}`,
    );
  }
  const { location } = tensor as { location?: unknown };
  if (location !== undefined && !String(location).startsWith("cpu")) {
    throw new UnsupportedError(
      `Cannot use ${what}: expected its data in memory, it is on ${location}; call getData() first`,
    );
  }
  if (tensor.type !== type) {
    throw new OptionError(
      `Cannot use ${what}: expected a tensor of ${type}, got ${
        tensor.type === undefined ? "no tensor" : tensor.type
      }`,
    );
  }
  const { data } = tensor;
  if (type === "float16" && holdsType(type, data)) return halfBits(data);
  const { Data } = elementTypeNamed(type);
  if (!(data instanceof Data)) {
    throw new OptionError(
      `Cannot use ${what}: expected ${type} elements in a ${Data.name}, got ${
        (data as { constructor?: { name?: string } } | undefined)?.constructor
          ?.name ?? typeof data
      }`,
    );
  }
  return data;
}

/** The extents of a tensor, checked to be as many as it has elements. */
function dimsOf(
  what: string,
  { dims }: SessionTensor,
  length: number,
): readonly number[] {
  let count: number;
  try {
    count = elementCount(dims);
  } catch (cause) {
    throw new ShapeError(`Cannot use ${what}: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (count !== length) {
    throw new ShapeError(
      `Cannot use ${what}: expected ${count} elements for ${
        describe(dims)
      }, got ${length}`,
    );
  }
  return dims;
}

/**
 * Checks a feed against what the model says of its input.
 *
 * @returns Its elements.
 *
 * @throws {OptionError} If it is no tensor or has another type.
 * @throws {ShapeError} If it has another rank or other extents.
 * @throws {UnsupportedError} If it is not in memory.
 */
export function checkFeed(
  { name, type, shape }: InputPort,
  tensor: SessionTensor,
): OnnxData {
  const what = `the feed of input "${name}"`;
  const data = elementsOf(what, tensor, type);
  const dims = dimsOf(what, tensor, data.length);
  const fits = shape === undefined || (shape.length === dims.length &&
    shape.every((extent, d) =>
      typeof extent !== "number" || extent === dims[d]
    ));
  if (!fits) {
    throw new ShapeError(
      `Cannot use ${what}: expected extents ${describe(shape)}, got ${
        describe(dims)
      }`,
    );
  }
  return data;
}

/**
 * Checks an array to compute an output into.
 *
 * @throws {OptionError} If it is no tensor or has another type.
 * @throws {ShapeError} If it has other extents.
 */
export function checkTarget(
  { name, type, dims }: {
    readonly name: string;
    readonly type: OnnxType;
    readonly dims: readonly number[];
  },
  tensor: SessionTensor,
): OnnxData {
  const what = `the tensor for output "${name}"`;
  const data = elementsOf(what, tensor, type);
  const given = dimsOf(what, tensor, data.length);
  const fits = given.length === dims.length &&
    given.every((extent, d) => extent === dims[d]);
  if (!fits) {
    throw new ShapeError(
      `Cannot use ${what}: expected extents ${describe(dims)}, got ${
        describe(given)
      }`,
    );
  }
  return data;
}
