/**
 * An operator with the BatchNormalizations that it takes in, and the weights
 * that it gets for them.
 *
 * With `x` as the input, `before` and `after` as what is taken in, and
 * constants that Add nodes add behind the operator:
 *
 *     y = after(alpha * weight * before(x) + beta * bias)
 *       = alpha * weight' * x + bias'
 *     weight'[i, o] = after.scale[o] * weight[i, o] * before.scale[i]
 *     bias'[o] = after.scale[o] * (beta * bias[o]
 *       + alpha * sum(weight[i, o] * before.shift[i])) + after.shift[o]
 *
 * Everything is computed in float64 and rounded once, to the type of what it
 * replaces.
 *
 * @module
 */

import { type Tensor, tensorLike, widen } from "../../tensor.ts";
import { type Affine, compose, hasNoShift, unchanged } from "./affine.ts";
import type { FloatConstant } from "../constants.ts";
import type { Refused } from "./constants.ts";
import type { Linear } from "./linear.ts";
import type { NodeView } from "../view.ts";

/** An Add of a constant between an operator and a BatchNormalization. */
export interface Adder {
  readonly node: NodeView;
  /** Which input the constant is. */
  readonly position: number;
  readonly constant: FloatConstant;
  /** How many axes are behind the channels. */
  readonly behind: number;
}

/** {@linkcode Adder}, with what the constant is multiplied by. */
export interface ScaledAdder extends Adder {
  readonly scale: Float64Array;
}

/** An operator and what it takes in. */
export interface Target {
  readonly linear: Linear;
  /** What happens to its input. */
  readonly before: Affine;
  /** What happens to its output. */
  readonly after: Affine;
  readonly adders: readonly ScaledAdder[];
}

/** New constants for a {@linkcode Target}. */
export interface Weights {
  readonly weight: Tensor;
  /** Undefined if it has none and needs none. */
  readonly bias: Tensor | undefined;
  /** Whether Gemm's `beta` is in the bias. */
  readonly betaInBias: boolean;
  /** Of each of the adders. */
  readonly added: readonly Tensor[];
  /** What only a new Add can add. */
  readonly newAdd: Tensor | undefined;
}

/** An operator before anything is taken in. */
export function targetOf(linear: Linear): Target {
  return {
    linear,
    before: unchanged(linear.channelsIn),
    after: unchanged(linear.channelsOut),
    adders: [],
  };
}

/** With one that stands behind all that is taken in so far. */
export function takeAfter(
  target: Target,
  affine: Affine,
  adders: readonly Adder[],
): Target {
  const known = new Set(target.adders.map(({ node }) => node));
  const { scale: ones } = unchanged(affine.scale.length);
  const all = [
    ...target.adders,
    ...adders.filter(({ node }) => !known.has(node))
      .map((adder) => ({ ...adder, scale: ones })),
  ];
  return {
    ...target,
    after: compose(target.after, affine),
    adders: all.map((adder) => ({
      ...adder,
      scale: adder.scale.map((value, c) => value * affine.scale[c]!),
    })),
  };
}

/** With one that stands before all that is taken in so far. */
export function takeBefore(target: Target, affine: Affine): Target {
  return { ...target, before: compose(affine, target.before) };
}

/** Elements as numbers; without a copy, where they are some already. */
function numbersOf(tensor: Tensor): Float32Array | Float64Array {
  const { type, data } = tensor;
  return type === "float32" || type === "float64"
    ? data as Float32Array | Float64Array
    : widen(tensor);
}

function weightOf(
  { weight: { tensor }, rows, columns, inner, outOf, inOf }: Linear,
  before: Affine,
  after: Affine,
): Tensor {
  const old = numbersOf(tensor);
  // Numbers are rounded as they are stored, bits from float64.
  const values = tensor.type === "float32"
    ? new Float32Array(old.length)
    : new Float64Array(old.length);
  let i = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const scale = after.scale[outOf(row, column)]! *
        before.scale[inOf(row, column)]!;
      for (const end = i + inner; i < end; i++) values[i] = old[i]! * scale;
    }
  }
  return tensor.type === "float32" || tensor.type === "float64"
    ? { ...tensor, data: values }
    : tensorLike(tensor, values);
}

/** What is added to each channel of the output, apart from the old bias. */
function shiftOf({ linear, before, after }: Target): Float64Array {
  const { weight, rows, columns, inner, outOf, inOf, alpha } = linear;
  const sums = new Float64Array(linear.channelsOut);
  if (!hasNoShift(before)) {
    const values = numbersOf(weight.tensor);
    let i = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const shift = before.shift[inOf(row, column)]!;
        let sum = 0;
        for (const end = i + inner; i < end; i++) sum += values[i]! * shift;
        sums[outOf(row, column)]! += sum;
      }
    }
  }
  return sums.map((sum, c) => after.scale[c]! * alpha * sum + after.shift[c]!);
}

/**
 * A constant that is added to a value, `scale` and `shift` applied along the
 * channels; it gets an axis for them if it has none. Undefined if it has
 * another number of them, or would grow by more than `most` elements.
 */
function scaled(
  { tensor }: FloatConstant,
  behind: number,
  { scale, shift }: Affine,
  most: number,
): Tensor | undefined {
  const channels = scale.length;
  const missing = Math.max(0, behind + 1 - tensor.dims.length);
  const dims = [...Array<number>(missing).fill(1), ...tensor.dims];
  const axis = dims.length - 1 - behind;
  const extent = dims[axis]!;
  if (extent !== channels && extent !== 1) return undefined;
  const product = (list: readonly number[]): number =>
    list.reduce((result, each) => result * each, 1);
  const inner = product(dims.slice(axis + 1));
  const old = widen(tensor);
  const full = dims.with(axis, channels);
  if (product(full) > old.length + most) return undefined;
  const values = new Float64Array(product(full));
  for (let i = 0; i < values.length; i++) {
    const place = i % inner;
    const c = Math.floor(i / inner) % channels;
    const outer = Math.floor(i / (inner * channels));
    const from = (outer * extent + (extent === 1 ? 0 : c)) * inner + place;
    values[i] = old[from]! * scale[c]! + shift[c]!;
  }
  return tensorLike({ ...tensor, dims: full }, values);
}

function isFinite(tensor: Tensor): boolean {
  const values = numbersOf(tensor);
  // Zero times anything else is not a number.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * 0;
  return sum === 0;
}

function vector({ weight: { tensor } }: Linear, values: Float64Array): Tensor {
  return tensorLike({ ...tensor, dims: [values.length] }, values);
}

/** The new constants; a tensor is missing where an old one does not fit. */
function compute(target: Target): Weights | undefined {
  const { linear, before, after, adders } = target;
  const { bias, biasPosition } = linear;
  const shift = shiftOf(target);
  const zeros = new Float64Array(shift.length);
  const isZero = shift.every((value) => value === 0);
  // One that grows beyond the weight would cost more than it saves.
  const most = linear.weight.tensor.data.length;
  // To the bias, if there is one or could be one; rather than that, to an Add.
  const place = isZero
    ? "none"
    : bias || (biasPosition !== undefined && adders.length === 0)
    ? "bias"
    : adders.length > 0
    ? "adder"
    : "new";
  const added = adders.map(({ constant, behind, scale }, i) =>
    scaled(constant, behind, {
      scale,
      shift: place === "adder" && i === 0 ? shift : zeros,
    }, most)
  );
  const newBias = bias
    ? scaled(bias, 0, {
      scale: after.scale.map((value) => value * linear.beta),
      shift,
    }, most)
    : undefined;
  if (added.includes(undefined) || (bias && !newBias)) return undefined;
  return {
    weight: weightOf(linear, before, after),
    bias: newBias ?? (place === "bias" ? vector(linear, shift) : undefined),
    betaInBias: linear.beta !== 1 && (bias !== undefined || place === "bias"),
    added: added as Tensor[],
    newAdd: place === "new" ? vector(linear, shift) : undefined,
  };
}

/** The new constants of an operator, or why they would not do. */
export function weightsOf(target: Target): Weights | Refused {
  const { linear, before, adders } = target;
  const what = `${linear.node.opType}'s`;
  if (linear.noShift !== undefined && !hasNoShift(before)) {
    return { reason: `${linear.node.opType} ${linear.noShift}` };
  }
  const weights = compute(target);
  if (!weights) {
    const shapes = [linear.bias, ...adders.map(({ constant }) => constant)]
      .flatMap((each) => each ? [`[${each.tensor.dims}]`] : []);
    return {
      reason: `the ${what} bias of shape ${
        shapes.join(" and ")
      } cannot hold a value for each of the ${linear.channelsOut} channels`,
    };
  }
  const { weight, bias, added, newAdd } = weights;
  for (const tensor of [weight, bias, ...added, newAdd]) {
    if (tensor && !isFinite(tensor)) {
      return {
        reason:
          `the ${what} new constants would not be finite in ${tensor.type}`,
      };
    }
  }
  return weights;
}
