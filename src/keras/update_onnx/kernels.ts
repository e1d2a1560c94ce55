/**
 * Keras' kernels as the weights of ONNX' operators.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { FoldedForm, FoldedOperator } from "../../onnx/folded_form.ts";
import { countOf, longExtents } from "../../onnx/linear_form_input.ts";
import { widen } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import { rawType } from "../files/raw_tensor.ts";
import type { LayerCall } from "../model/layer_calls.ts";

/** What Keras' classes with a kernel are: their operator, and how the kernel's axes stand. */
type KernelKind = "conv" | "depthwise" | "transpose" | "dense";

const KINDS: Readonly<Record<string, KernelKind>> = {
  Conv1D: "conv",
  Conv2D: "conv",
  Conv3D: "conv",
  Convolution1D: "conv",
  Convolution2D: "conv",
  Convolution3D: "conv",
  // The last of their two kernels.
  SeparableConv1D: "conv",
  SeparableConv2D: "conv",
  SeparableConvolution1D: "conv",
  SeparableConvolution2D: "conv",
  DepthwiseConv1D: "depthwise",
  DepthwiseConv2D: "depthwise",
  Conv1DTranspose: "transpose",
  Conv2DTranspose: "transpose",
  Conv3DTranspose: "transpose",
  Convolution2DTranspose: "transpose",
  Dense: "dense",
};

const OPERATORS: Readonly<Record<KernelKind, readonly FoldedOperator[]>> = {
  conv: ["Conv"],
  depthwise: ["Conv"],
  transpose: ["ConvTranspose"],
  dense: ["MatMul", "Gemm"],
};

/** A layer with a kernel into which a BatchNormalization can have gone. */
export interface KernelLayer {
  readonly path: readonly string[];
  readonly kind: KernelKind;
  readonly kernel: FileVariable;
  readonly bias: FileVariable | undefined;
  readonly groups: number;
}

/** A variable by its name without scope; by its place where names are numbers. */
function variableCalled(
  variables: readonly FileVariable[],
  wanted: RegExp,
  place: number,
): FileVariable | undefined {
  const bare = (name: string): string =>
    name.replace(/:\d+$/, "").replace(/^.*\//, "");
  return variables.find(({ name }) => wanted.test(bare(name))) ??
    (variables.every(({ name }) => /^\d+$/.test(bare(name)))
      ? variables[place]
      : undefined);
}

/**
 * What a call is, if it is a layer with a kernel, whatever its activation.
 *
 * @param call The call.
 * @param variables The layer's variables.
 */
export function kernelLayer(
  { path, className, config }: LayerCall,
  variables: readonly FileVariable[],
): KernelLayer | undefined {
  const kind = KINDS[className];
  if (!kind) return undefined;
  const isSeparable = className.startsWith("Separable");
  const hasBias = (config.use_bias ?? config.bias ?? true) !== false;
  const kernel = variableCalled(
    variables,
    isSeparable
      ? /^pointwise_kernel(_\d+)?$/
      : /^((depthwise_)?kernel(_\d+)?|.*_W)$/,
    isSeparable ? 1 : 0,
  );
  const bias = hasBias
    ? variableCalled(variables, /^(bias(_\d+)?|.*_b)$/, isSeparable ? 2 : 1)
    : undefined;
  if (!kernel || (hasBias && !bias) || kernel.dims.length < 2) return undefined;
  if (![kernel, bias].every((each) => !each || rawType(each.type))) {
    return undefined;
  }
  const channelsIn = kernel.dims.at(-2)!;
  const groups = kind === "depthwise"
    ? channelsIn
    : typeof config.groups === "number" && kind === "conv" && !isSeparable
    ? config.groups
    : 1;
  return { path, kind, kernel, bias, groups };
}

/** The order of Keras' axes in ONNX, and the extents there. */
function layoutOf(
  { kind, kernel: { dims } }: KernelLayer,
  { isTransposed }: Pick<FoldedForm, "isTransposed">,
): { readonly order: readonly number[]; readonly dims: readonly number[] } {
  const rank = dims.length;
  const space = [...Array(rank - 2).keys()];
  const [second, last] = [rank - 2, rank - 1];
  const extents = (order: readonly number[]) => order.map((i) => dims[i]!);
  switch (kind) {
    case "conv":
      return {
        order: [last, second, ...space],
        dims: extents([last, second, ...space]),
      };
    case "transpose":
      // Of [..., outputs, inputs].
      return {
        order: [last, second, ...space],
        dims: extents([last, second, ...space]),
      };
    case "depthwise":
      return {
        order: [second, last, ...space],
        dims: [dims[second]! * dims[last]!, 1, ...extents(space)],
      };
    case "dense": {
      const order = isTransposed ? [1, 0] : [0, 1];
      return { order, dims: extents(order) };
    }
  }
}

/** The number of channels that a layer gives. */
export function kernelChannels(
  { kind, kernel: { dims } }: KernelLayer,
): number {
  switch (kind) {
    case "conv":
    case "dense":
      return dims.at(-1)!;
    case "transpose":
      return dims.at(-2)!;
    case "depthwise":
      return dims.at(-1)! * dims.at(-2)!;
  }
}

/**
 * Whether an operator's weight has the shape of a layer's kernel. Converters
 * make two-dimensional ones of one-dimensional ones, by an extent of 1.
 */
export function fitsKernel(layer: KernelLayer, form: FoldedForm): boolean {
  if (!OPERATORS[layer.kind].includes(form.operator)) return false;
  if (layer.kind === "dense" && layer.kernel.dims.length !== 2) return false;
  if (layer.groups !== form.groups) return false;
  const { dims } = layoutOf(layer, form);
  const [first, second, ...space] = dims;
  const [formFirst, formSecond, ...formSpace] = form.weight.dims;
  return first === formFirst && second === formSecond &&
    longExtents(space).join() === longExtents(formSpace).join();
}

/** A tensor's values with its axes in another order. */
function transposed(
  values: Float64Array,
  dims: readonly number[],
  order: readonly number[],
): Float64Array {
  const strides = dims.map((_, axis) => countOf(dims.slice(axis + 1)));
  const result = new Float64Array(values.length);
  const extents = order.map((axis) => dims[axis]!);
  const steps = order.map((axis) => strides[axis]!);
  const index = order.map(() => 0);
  let from = 0;
  for (let i = 0; i < result.length; i++) {
    result[i] = values[from]!;
    for (let axis = index.length - 1; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++index[axis]! < extents[axis]!) break;
      from -= steps[axis]! * extents[axis]!;
      index[axis] = 0;
    }
  }
  return result;
}

async function valuesOf(
  variable: FileVariable,
  path: readonly string[],
): Promise<Float64Array> {
  const values = widen(await variable.read());
  if (values.length === countOf(variable.dims)) return values;
  throw new FormatError(
    `Cannot read ${variable.location} of layer "${path.join("/")}": expected ${
      countOf(variable.dims)
    } values, got ${values.length}`,
  );
}

/**
 * A layer's kernel and bias as an operator has them.
 *
 * @param layer The layer; its kernel fits.
 * @param form The operator.
 * @returns The kernel in the order of the operator's weight, and a value for
 * each channel, zeros without a bias.
 */
export async function readKernel(
  layer: KernelLayer,
  form: FoldedForm,
): Promise<{ readonly kernel: Float64Array; readonly bias: Float64Array }> {
  const { kernel, bias, path } = layer;
  const { order } = layoutOf(layer, form);
  const shift = bias
    ? await valuesOf(bias, path)
    : new Float64Array(form.channels);
  if (shift.length !== form.channels) {
    throw new FormatError(
      `Cannot use the bias of layer "${
        path.join("/")
      }": expected ${form.channels} values, got ${shift.length}`,
    );
  }
  return {
    kernel: transposed(await valuesOf(kernel, path), kernel.dims, order),
    bias: shift,
  };
}
