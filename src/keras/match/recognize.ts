/**
 * Tells from the shapes and values of a group of unnamed variables whether it
 * is a BatchNormalization's.
 *
 * @module
 */

import { type WeightFlags, weightNames } from "../../layer/weights.ts";
import { type Tensor, widen } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { Found, Verdict } from "../contents/found.ts";
import { rawType } from "../files/raw_tensor.ts";

/** What was concluded. */
type Conclusion = Pick<Found, "reason" | "flags"> & {
  readonly verdict: Verdict;
};

/** Groups that Keras named after the class. */
const NAMED_AFTER_CLASS = /^(sync_)?batch_normalization(_\d+)?$/;

/** Which variables there are, by their number, where that is clear. */
const FLAGS_OF_COUNT: Readonly<Record<number, WeightFlags>> = {
  2: { scale: false, center: false, renorm: false },
  4: { scale: true, center: true, renorm: false },
  5: { scale: false, center: false, renorm: true },
  7: { scale: true, center: true, renorm: true },
};

function sameShape(variables: readonly FileVariable[]): boolean {
  const [first, ...others] = variables.map(({ dims }) => dims.join());
  return first !== undefined && first !== "" &&
    others.every((dims) => dims === first);
}

/** The variables that cannot be negative, by their place. */
function nonNegative(flags: WeightFlags): number[] {
  const names = weightNames(flags);
  return ["moving_variance", "moving_stddev", "renorm_stddev"]
    .map((name) => names.findIndex((each) => each === name))
    .filter((index) => index >= 0);
}

function hasNegative(tensor: Tensor): boolean {
  return widen(tensor)
    .some((value) => value < 0);
}

/** Whether variables can be a layer's, by the signs of its variances and deviations. */
export async function isWithoutNegativeVariance(
  variables: readonly FileVariable[],
  flags: WeightFlags,
): Promise<boolean> {
  for (const index of nonNegative(flags)) {
    const variable = variables[index]!;
    if (
      rawType(variable.type) === undefined ||
      hasNegative(await variable.read())
    ) return false;
  }
  return true;
}

/** Whether a shape is that of ghost batches, or of several axes with an extent of 1. */
function isGhostShape(dims: readonly number[]): boolean {
  return dims.length >= 3 && dims[0] === 1 && dims[1] === 1;
}

/**
 * What variables of a shape leave open, and how to tell; undefined where the
 * shape says which axes it has.
 */
export function openAxes(dims: readonly number[]): string | undefined {
  if (isGhostShape(dims)) {
    return `the shape [${
      dims.join(", ")
    }] is that of ghost batches or of several axes, and the file does not hold which: give its virtual_batch_size, or its list of axes, in the option layers`;
  }
  // One axis has a vector; of several, those with an extent of 1 do not show.
  const long = dims.filter((extent) => extent !== 1).length;
  return dims.length > 1 && long < 2
    ? `the shape [${
      dims.join(", ")
    }] is that of several axes, and the file does not hold which: give its list of axes in the option layers`
    : undefined;
}

/**
 * The flags of a group with so many variables; undefined where it is not
 * clear which ones they are.
 */
export function flagsOfCount(count: number): WeightFlags | undefined {
  return FLAGS_OF_COUNT[count];
}

/**
 * Judges a group of variables in Keras' order.
 *
 * A group that Keras named after the class is a BatchNormalization; of others,
 * four or seven vectors of one length are, if those that would be variances
 * and deviations have no negative value. Two or three vectors can be
 * something else, or are not clear.
 *
 * @param name The last part of the group's location.
 * @param variables Its variables.
 */
export async function judge(
  name: string,
  variables: readonly FileVariable[],
): Promise<Conclusion | undefined> {
  const count = variables.length;
  const named = NAMED_AFTER_CLASS.test(name);
  if (
    count < 2 || count > 7 || !sameShape(variables) ||
    variables.some(({ type }) => rawType(type) === undefined)
  ) {
    return named && count > 0
      ? possible(
        "its group is named after the class, but does not hold 2 to 7 float arrays of one shape",
      )
      : undefined;
  }
  const { dims } = variables[0]!;
  const shape = `${count} arrays of shape [${dims.join(", ")}]`;
  if (!named && (dims.length !== 1 || count > 4 && count < 7)) return undefined;
  const open = openAxes(dims);
  if (open) return possible(`its group is named after the class, but ${open}`);
  const flags = flagsOfCount(count);
  if (!flags) {
    return possible(
      `${shape} are those of a BatchNormalization without gamma or without beta, and the file does not hold which: give { scale: false } or { center: false } in the option layers`,
    );
  }
  if (named) {
    return {
      verdict: "recognized",
      reason: `its group is named after the class, with ${shape}`,
      flags,
    };
  }
  if (count === 2) {
    return possible(
      `${shape} can be a BatchNormalization's without gamma and beta, or a LayerNormalization's`,
    );
  }
  if (!await isWithoutNegativeVariance(variables, flags)) return undefined;
  return {
    verdict: "recognized",
    reason: `${shape}, without a negative value where variances would be`,
    flags,
  };
}

function possible(reason: string): Conclusion {
  return { verdict: "possible", reason, flags: undefined };
}
