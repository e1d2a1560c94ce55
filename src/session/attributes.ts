/**
 * The attributes of a node, each read as what its operator says it is.
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../errors.ts";
import type { ExternalData } from "../onnx/external_data.ts";
import { type OnnxTensor, readTensor } from "../onnx/tensor_view.ts";
import type { AttributeView } from "../onnx/view.ts";

/** `AttributeProto.AttributeType`. */
const TYPES = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;
type AttributeType = keyof typeof TYPES;

const NAMES: ReadonlyMap<number, string> = new Map([
  ...Object.entries(TYPES).map(([name, type]) => [type, name] as const),
  [5, "graph"],
  [9, "tensors"],
  [10, "graphs"],
  [11, "sparse tensor"],
]);

const decoder = new TextDecoder();

/** The attributes of one node. */
export class Attributes {
  readonly #views: ReadonlyMap<string, AttributeView>;
  readonly #node: string;
  readonly #external: ExternalData | undefined;

  /**
   * Wraps a node's attributes.
   *
   * @param views The attributes.
   * @param node The node, for messages.
   * @param external Where the elements of tensors in other files come from.
   */
  constructor(
    views: ReadonlyMap<string, AttributeView>,
    node: string,
    external: ExternalData | undefined,
  ) {
    this.#views = views;
    this.#node = node;
    this.#external = external;
  }

  /** Whether the node has an attribute. */
  has(name: string): boolean {
    return this.#views.has(name);
  }

  /** The attribute, checked to be of a type; undefined if it is not there. */
  #view(name: string, type: AttributeType): AttributeView | undefined {
    const view = this.#views.get(name);
    if (view === undefined) return undefined;
    // Files before 2018 do not tell the type.
    const found = view.type === undefined || view.type === 0
      ? guess(view)
      : view.type;
    if (found !== undefined && found !== TYPES[type]) {
      throw new FormatError(
        `Cannot load ${this.#node}: expected its attribute ${name} to be of type ${type}, got ${
          NAMES.get(found) ?? `type ${found}`
        }`,
      );
    }
    return view;
  }

  /** An integer. */
  int<T extends number | undefined>(name: string, missing: T): number | T {
    const view = this.#view(name, "int");
    return view ? this.#number(view.i ?? 0n) : missing;
  }

  /** An integer that stands for true or false. */
  flag(name: string, missing: boolean): boolean {
    return this.int(name, Number(missing)) !== 0;
  }

  /** A float. */
  float<T extends number | undefined>(name: string, missing: T): number | T {
    const view = this.#view(name, "float");
    return view ? view.f ?? 0 : missing;
  }

  /** A text. */
  string(name: string): string | undefined {
    const view = this.#view(name, "string");
    return view && decoder.decode(view.s);
  }

  /** A list of integers. */
  ints(name: string): number[] | undefined {
    const view = this.#view(name, "ints");
    return view?.ints.map((value) => this.#number(value));
  }

  /** A list of 64-bit integers. */
  bigints(name: string): readonly bigint[] | undefined {
    return this.#view(name, "ints")?.ints;
  }

  /** A list of floats. */
  floats(name: string): readonly number[] | undefined {
    return this.#view(name, "floats")?.floats;
  }

  /** A tensor with its elements. */
  tensor(name: string): OnnxTensor | undefined {
    const view = this.#view(name, "tensor");
    if (!view) return undefined;
    if (!view.t) {
      throw new FormatError(
        `Cannot load ${this.#node}: its attribute ${name} is empty`,
      );
    }
    try {
      return readTensor(view.t, this.#external);
    } catch (cause) {
      if (
        !(cause instanceof FormatError || cause instanceof UnsupportedError)
      ) {
        throw cause;
      }
      const Class = cause instanceof FormatError
        ? FormatError
        : UnsupportedError;
      throw new Class(`Cannot load ${this.#node}: ${cause.message}`, { cause });
    }
  }

  #number(value: bigint): number {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) {
      // The ends of the range stand for "to the end" in a Slice, and a double
      // beside them does as well.
      return value < 0n ? -Number.MAX_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
    }
    return number;
  }
}

/** The type of an attribute that does not tell it, from the field that it has. */
function guess(view: AttributeView): number | undefined {
  if (view.f !== undefined) return TYPES.float;
  if (view.i !== undefined) return TYPES.int;
  if (view.s !== undefined) return TYPES.string;
  if (view.t !== undefined) return TYPES.tensor;
  if (view.g !== undefined) return 5;
  if (view.floats.length > 0) return TYPES.floats;
  if (view.ints.length > 0) return TYPES.ints;
  if (view.strings.length > 0) return TYPES.strings;
  return undefined; // empty, or a number that is zero
}
