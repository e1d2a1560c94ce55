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

/** What a tensor is for; texts are put together only to fail with them. */
type Role = "the feed of input" | "the tensor for output";

/** What a tensor has to be, and what it is called. */
interface Expected {
  readonly name: string;
  readonly type: OnnxType;
}

/** The elements of a tensor, checked to be of a type; float16 as bits. */
function elementsOf(
  role: Role,
  { name, type }: Expected,
  tensor: SessionTensor,
): OnnxData {
  if (typeof tensor !== "object" || tensor === null) {
    throw new OptionError(
      `Cannot use ${role} "${name}": expected a tensor, got ${tensor}`,
    );
  }
  const { location } = tensor as { location?: unknown };
  if (
    location !== undefined && location !== "cpu" &&
    !String(location).startsWith("cpu")
  ) {
    throw new UnsupportedError(
      `Cannot use ${role} "${name}": expected its data in memory, it is on ${location}; call getData() first`,
    );
  }
  if (tensor.type !== type) {
    throw new OptionError(
      `Cannot use ${role} "${name}": expected a tensor of ${type}, got ${
        tensor.type === undefined ? "no tensor" : tensor.type
      }`,
    );
  }
  const { data } = tensor;
  // V8 compiles a test for one class that it knows to next to nothing.
  if (type === "float32" && data instanceof Float32Array) return data;
  if (type === "float16" && holdsType(type, data)) return halfBits(data);
  const { Data } = elementTypeNamed(type);
  if (!(data instanceof Data)) {
    throw new OptionError(
      `Cannot use ${role} "${name}": expected ${type} elements in a ${Data.name}, got ${
        (data as { constructor?: { name?: string } } | undefined)?.constructor
          ?.name ?? typeof data
      }`,
    );
  }
  return data;
}

/** The extents of a tensor, checked to be as many as it has elements. */
function extentsOf(
  role: Role,
  { name }: Expected,
  { dims }: SessionTensor,
  length: number,
): readonly number[] {
  let count: number;
  try {
    count = elementCount(dims);
  } catch (cause) {
    throw new ShapeError(
      `Cannot use ${role} "${name}": ${(cause as Error).message}`,
      { cause },
    );
  }
  if (count !== length) {
    throw new ShapeError(
      `Cannot use ${role} "${name}": expected ${count} elements for ${
        describe(dims)
      }, got ${length}`,
    );
  }
  return dims;
}

/** Whether extents are the same list of numbers. */
export function sameExtents(
  known: readonly number[],
  given: readonly number[],
): boolean {
  if (!Array.isArray(given) || given.length !== known.length) return false;
  for (let d = 0; d < known.length; d++) {
    if (given[d] !== known[d]) return false;
  }
  return true;
}

/**
 * Checks the elements of a feed.
 *
 * @returns Its elements.
 *
 * @throws {OptionError} If it is no tensor or has another type.
 * @throws {UnsupportedError} If it is not in memory.
 */
export function checkFeedElements(
  port: InputPort,
  tensor: SessionTensor,
): OnnxData {
  return elementsOf("the feed of input", port, tensor);
}

/**
 * Checks the extents of a feed against what the model says of its input.
 *
 * @param port The input.
 * @param tensor The feed.
 * @param length How many elements it has.
 *
 * @throws {ShapeError} If it has another rank or other extents.
 */
export function checkFeedExtents(
  port: InputPort,
  tensor: SessionTensor,
  length: number,
): void {
  const { name, shape } = port;
  const dims = extentsOf("the feed of input", port, tensor, length);
  const fits = shape === undefined || (shape.length === dims.length &&
    shape.every((extent, d) =>
      typeof extent !== "number" || extent === dims[d]
    ));
  if (!fits) {
    throw new ShapeError(
      `Cannot use the feed of input "${name}": expected extents ${
        describe(shape)
      }, got ${describe(dims)}`,
    );
  }
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
export function checkFeed(port: InputPort, tensor: SessionTensor): OnnxData {
  const data = checkFeedElements(port, tensor);
  checkFeedExtents(port, tensor, data.length);
  return data;
}

/**
 * Checks an array to compute an output into.
 *
 * @returns Its elements.
 *
 * @throws {OptionError} If it is no tensor or has another type.
 * @throws {ShapeError} If it has other extents.
 * @throws {UnsupportedError} If it is not in memory.
 */
export function checkTarget(
  expected: Expected & {
    readonly dims: readonly number[];
    readonly count: number;
  },
  tensor: SessionTensor,
): OnnxData {
  const { name, dims, count } = expected;
  const data = elementsOf("the tensor for output", expected, tensor);
  if (data.length === count && sameExtents(dims, tensor.dims)) return data;
  const given = extentsOf(
    "the tensor for output",
    expected,
    tensor,
    data.length,
  );
  throw new ShapeError(
    `Cannot use the tensor for output "${name}": expected extents ${
      describe(dims)
    }, got ${describe(given)}`,
  );
}
