/**
 * Whether a graph holds what a Keras layer's weights give.
 *
 * @module
 */

import type { ExternalData } from "../../onnx/external_data.ts";
import type { FoundNode } from "../../onnx/find.ts";
import { type FoldedForm, outputChannel } from "../../onnx/folded_form.ts";
import type { LinearForm } from "../../onnx/linear_form.ts";
import { readFloatInput } from "../../onnx/linear_form_input.ts";
import { type ElementType, type Tensor, widen } from "../../tensor.ts";
import { fitsKernel, readKernel } from "./kernels.ts";
import {
  type Affine,
  affineOf,
  type ChannelOrder,
  channelOrders,
  type NormLayer,
} from "./layers.ts";
import { type Site, unwritableReason } from "./sites.ts";

/**
 * Half the distance of neighbouring numbers, relative to them. Of float64
 * too, converters compute in float32, of which the weights are.
 */
const ROUNDING: Readonly<Record<ElementType, number>> = {
  float32: 2 ** -24,
  float64: 2 ** -24,
  float16: 2 ** -11,
  bfloat16: 2 ** -8,
};

/** Half the distance of the smallest numbers. */
const SMALLEST: Readonly<Record<ElementType, number>> = {
  float32: 2 ** -150,
  float64: 2 ** -150,
  float16: 2 ** -25,
  bfloat16: 2 ** -134,
};

/**
 * How many roundings a converter's own arithmetic is given: adding epsilon
 * (itself rounded), the root and its inverse (4, as approximate instructions
 * with one step of Newton's method are within 2 units in the last place),
 * times gamma, times mean, times the kernel, the difference, and storing: 10;
 * and as much again for the same arithmetic in another order.
 */
const ROUNDINGS = 20;

/**
 * keras2onnx divides by the root of the variance and Keras' epsilon, and then
 * has ONNX divide by that of 1 and this part of the epsilon; which divides by
 * half as much more, in what it folds.
 */
const LEFT_EPSILON = 1e-3;

/** Whether two numbers differ by no more than roundings of a magnitude. */
function isNear(
  actual: number,
  expected: number,
  magnitude: number,
  type: ElementType,
  slack = 0,
): boolean {
  const bound = (ROUNDINGS * ROUNDING[type] + slack) * magnitude +
    SMALLEST[type];
  return Math.abs(actual - expected) <= bound;
}

/** The constants of BatchNormalization against what a layer does. */
function opHolds(
  { parameters, epsilon }: FoundNode,
  { scale, shift, magnitude }: Affine,
): boolean {
  const [gamma, beta, mean, variance] = [
    parameters.gamma,
    parameters.beta,
    parameters.mean,
    parameters.variance,
  ].map(({ tensor }) => widen(tensor!));
  const { type } = parameters.gamma.tensor!;
  const isUnit = mean!.every((value) => value === 0) &&
    variance!.every((value) => value === 1);
  // See LEFT_EPSILON.
  const slack = isUnit ? epsilon / 2 : 0;
  return scale.every((expected, c) => {
    const actual = gamma![c]! / Math.sqrt(variance![c]! + epsilon);
    const part = mean![c]! * actual;
    const both = Math.max(magnitude[c]!, Math.abs(beta![c]!) + Math.abs(part));
    return isNear(actual, expected, Math.abs(expected), type, slack) &&
      isNear(beta![c]! - part, shift[c]!, both, type);
  });
}

function linearHolds(
  { factor, summand }: LinearForm,
  { scale, shift, magnitude }: Affine,
  order: ChannelOrder,
  external: ExternalData | undefined,
): boolean {
  const factors = widen(readFloatInput(factor, external));
  const summands = summand && widen(readFloatInput(summand, external));
  return order.every((c, i) =>
    isNear(factors[i]!, scale[c]!, Math.abs(scale[c]!), factor.type) &&
    isNear(summands?.[i] ?? 0, shift[c]!, magnitude[c]!, factor.type)
  );
}

/** The values of a kernel with what is folded into it, in float64. */
export interface FoldedValues {
  readonly weight: Float64Array;
  readonly bias: Float64Array;
  /** The sum of the magnitudes that each bias is made of. */
  readonly magnitude: Float64Array;
}

/** A layer's kernel with the layer folded into it. */
export async function foldedValues(
  { kernel: layer }: NormLayer,
  form: FoldedForm,
  { scale, shift, magnitude }: Affine,
): Promise<FoldedValues> {
  const { kernel, bias } = await readKernel(layer!, form);
  const channelOf = outputChannel(form);
  return {
    weight: kernel.map((value, i) => value * scale[channelOf(i)]!),
    bias: bias.map((value, c) => value * scale[c]! + shift[c]!),
    magnitude: bias.map((value, c) =>
      Math.abs(value * scale[c]!) + magnitude[c]!
    ),
  };
}

async function foldedHolds(
  layer: NormLayer,
  form: FoldedForm,
  affine: Affine,
  external: ExternalData | undefined,
): Promise<boolean> {
  const { type } = form.weight;
  const bias: Tensor | undefined = form.bias &&
    readFloatInput(form.bias, external);
  const expected = await foldedValues(layer, form, affine);
  const slack = layer.layer.effectiveEpsilon * LEFT_EPSILON / 2;
  const shift = bias && widen(bias);
  const hasBias = expected.bias.every((value, c) =>
    isNear(shift?.[c] ?? 0, value, expected.magnitude[c]!, type, slack)
  );
  if (!hasBias) return false;
  const weight = widen(readFloatInput(form.weight, external));
  return expected.weight.every((value, i) =>
    isNear(weight[i]!, value, Math.abs(value), type, slack)
  );
}

/** How a layer can be in a site: the ways in which its channels can stand there. */
export function waysInto(layer: NormLayer, site: Site): ChannelOrder[] {
  const [channels] = channelOrders(layer, [layer.channels]);
  switch (site.kind) {
    case "op": {
      const { parameters, spatial } = site.op;
      const fits = channels !== undefined && spatial &&
        unwritableReason(site.op) === undefined &&
        Object.values(parameters).every(({ tensor }) =>
          tensor!.data.length === layer.channels
        );
      return fits ? [channels] : [];
    }
    case "linear":
      return channelOrders(layer, site.linear.factor.dims);
    case "folded":
      return channels && layer.kernel && fitsKernel(layer.kernel, site.folded)
        ? [channels]
        : [];
  }
}

/**
 * The ways in which a site holds what a layer's weights give, up to the
 * rounding of converters.
 *
 * @param layer The layer, of the file that the graph was made of.
 * @param site The site; the layer fits.
 * @param external Where elements in other files come from.
 *
 * @throws {FormatError} If the model or the Keras file is damaged.
 */
export async function heldWays(
  layer: NormLayer,
  site: Site,
  external: ExternalData | undefined,
): Promise<ChannelOrder[]> {
  const affine = affineOf(layer.layer);
  const ways = waysInto(layer, site);
  switch (site.kind) {
    case "op":
      return opHolds(site.op, affine) ? ways : [];
    case "linear":
      return ways.filter((way) =>
        linearHolds(site.linear, affine, way, external)
      );
    case "folded":
      return await foldedHolds(layer, site.folded, affine, external)
        ? ways
        : [];
  }
}
