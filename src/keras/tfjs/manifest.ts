/**
 * The `weightsManifest` of a TensorFlow.js model: which weights are where in
 * its files.
 *
 * Within a group, the files are one sequence of bytes and the weights lie back
 * to back in it, so that a weight can begin in one file and end in another.
 *
 * @module
 */

import { FormatError, ShapeError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";
import { elementCount } from "../../tensor.ts";
import type { JsonObject } from "../files/json.ts";
import { type OpenBeside, ShardList } from "./shard_list.ts";

/** How a weight's numbers are stored in fewer bits. */
export type Quantization =
  | { readonly dtype: "float16" }
  | {
    readonly dtype: "uint8" | "uint16";
    /** A stored q stands for q * scale + min. */
    readonly scale: number;
    readonly min: number;
  };

/** One weight. */
export interface TfjsWeight {
  readonly name: string;
  /** The element type that it is read as, in TensorFlow.js' words. */
  readonly dtype: string;
  readonly dims: readonly number[];
  readonly quantization: Quantization | undefined;
  /** Whether it is the optimizer's, and not the model's. */
  readonly isOptimizers: boolean;
  /** The files with its bytes. */
  readonly shards: ShardList;
  /** The bytes that it takes there; undefined for strings, which tell it themselves. */
  readonly byteLength: number | undefined;
  /**
   * Where its bytes begin.
   *
   * @throws {FormatError} If files are missing, or are too short, or texts on
   * both sides leave it open.
   */
  offset(): Promise<number>;
}

/** The bytes of an element, by dtype. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  float32: 4,
  float16: 2,
  int32: 4,
  uint8: 1,
  uint16: 2,
  bool: 1,
  complex64: 8,
};

/** Strings have a length each, in front. */
const STRING = "string";

function fail(what: string, expected: string, found: unknown): never {
  const text = JSON.stringify(found)?.slice(0, 60) ?? "nothing";
  throw new FormatError(
    `Cannot read the weights' manifest: expected ${what} to be ${expected}, found ${text}`,
  );
}

function readQuantization(
  value: unknown,
  weight: string,
): Quantization | undefined {
  if (value === undefined || value === null) return undefined;
  const what = `the quantization of "${weight}"`;
  if (!isObject(value)) return fail(what, "an object", value);
  const { dtype, scale, min } = value;
  if (dtype === "float16") return { dtype };
  if (dtype !== "uint8" && dtype !== "uint16") {
    return fail(`the dtype in ${what}`, "uint8, uint16 or float16", dtype);
  }
  if (typeof scale !== "number" || !Number.isFinite(scale)) {
    return fail(`the scale in ${what}`, "a finite number", scale);
  }
  if (typeof min !== "number" || !Number.isFinite(min)) {
    return fail(`the min in ${what}`, "a finite number", min);
  }
  return { dtype, scale, min };
}

function countOf(shape: unknown, weight: string): number {
  try {
    // Not an array is refused there as well.
    return elementCount(shape as number[]);
  } catch (cause) {
    if (!(cause instanceof ShapeError)) throw cause;
    return fail(`the shape of "${weight}"`, "a list of extents", shape);
  }
}

/** A weight as the manifest describes it, without its place. */
type Spec = Omit<TfjsWeight, "shards" | "offset">;

function readSpec(value: unknown): Spec {
  if (!isObject(value)) return fail("a weight", "an object", value);
  const { name, shape, dtype, quantization, group } = value;
  if (typeof name !== "string") return fail("a weight's name", "text", name);
  const count = countOf(shape, name);
  if (typeof dtype !== "string") {
    return fail(`the dtype of "${name}"`, "text", dtype);
  }
  const stored = readQuantization(quantization, name);
  const type = stored?.dtype ?? dtype;
  const isKnown = Object.hasOwn(ELEMENT_BYTES, type);
  if (!isKnown && type !== STRING) {
    return fail(
      `the dtype of "${name}"`,
      [...Object.keys(ELEMENT_BYTES), STRING].join(", "),
      dtype,
    );
  }
  const byteLength = isKnown ? count * ELEMENT_BYTES[type]! : undefined;
  if (byteLength !== undefined && !Number.isSafeInteger(byteLength)) {
    return fail(`the shape of "${name}"`, "one that a file can hold", shape);
  }
  return {
    name,
    dtype,
    dims: shape as number[],
    quantization: stored,
    isOptimizers: group === "optimizer",
    byteLength,
  };
}

function readPaths(value: unknown): string[] {
  const isPath = (path: unknown): path is string => typeof path === "string";
  return Array.isArray(value) && value.every(isPath)
    ? value
    : fail("the paths of a group", "a list of file names", value);
}

/** Where the weights of a group begin. */
class Places {
  readonly #specs: readonly Spec[];
  /** From the beginning, up to the first text. */
  readonly #before: number[] = [];
  /** To the end, by the number of weights from there on. */
  readonly #after: number[] = [0];

  constructor(specs: readonly Spec[]) {
    this.#specs = specs;
    let sum = 0;
    for (const { byteLength } of specs) {
      this.#before.push(sum);
      if (byteLength === undefined) break;
      sum += byteLength;
    }
    sum = 0;
    for (const { byteLength } of specs.toReversed()) {
      if (byteLength === undefined) break;
      this.#after.push(sum += byteLength);
    }
  }

  async offset(index: number, shards: ShardList): Promise<number> {
    const before = this.#before[index];
    if (before !== undefined) return before;
    const after = this.#after[this.#specs.length - index];
    const { name } = this.#specs[index]!;
    if (after === undefined) {
      throw new FormatError(
        `Cannot find "${name}" in the weights: it is between texts, of which the manifest does not hold the lengths`,
      );
    }
    const size = await shards.size();
    if (after > size) {
      throw new FormatError(
        `Cannot read "${name}": expected ${after} bytes or more, found ${size}; a file is truncated`,
      );
    }
    return size - after;
  }
}

function readGroup(value: unknown, open: OpenBeside): TfjsWeight[] {
  if (!isObject(value)) return fail("a group", "an object", value);
  const { paths, weights } = value;
  if (!Array.isArray(weights)) {
    return fail("the weights of a group", "a list", weights);
  }
  const shards = new ShardList(readPaths(paths), open);
  const specs = weights.map(readSpec);
  const places = new Places(specs);
  return specs.map((spec, index) => ({
    ...spec,
    shards,
    offset: () => places.offset(index, shards),
  }));
}

/**
 * Reads a manifest.
 *
 * @param model The content of `model.json`.
 * @param open Opens a file beside it.
 * @returns The weights in the manifest's order.
 *
 * @throws {FormatError} If it is missing or damaged, has a name twice, or
 * names files outside the model's folder.
 */
export function readManifest(
  { weightsManifest }: JsonObject,
  open: OpenBeside,
): TfjsWeight[] {
  if (!Array.isArray(weightsManifest)) {
    return fail("weightsManifest", "a list of groups", weightsManifest);
  }
  const weights = weightsManifest.flatMap((group) => readGroup(group, open));
  const seen = new Set<string>();
  for (const { name } of weights) {
    if (seen.has(name)) {
      throw new FormatError(
        `Cannot read the weights' manifest: it has "${name}" twice`,
      );
    }
    seen.add(name);
  }
  return weights;
}
