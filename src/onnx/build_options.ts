/**
 * The options of `buildOnnx`, checked and completed.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import {
  BFLOAT16_OPSET,
  DEFAULT_OPSET,
  irVersionOf,
  NEWEST_OPSET,
  OLDEST_OPSET,
} from "./versions.ts";

/** How a layer is written: as BatchNormalization, or as Mul and Add. */
export type OnnxForm = "op" | "affine";

/** The options of `buildOnnx`. */
export interface BuildOnnxOptions {
  /**
   * The shape of the input, batch included: numbers, null for extents that
   * may vary, or a name for such an extent. Null is named `N` for the batch
   * and `d1`, `d2`, ... by index for others; equal names are equal extents.
   */
  readonly inputShape: readonly (number | null | string)[];
  /** The version of ONNX' operators, 7 to 26; default 15. */
  readonly opset?: number;
  /**
   * `"op"` (default) for BatchNormalization, with Transpose or Reshape around
   * it unless the axis is 1; `"affine"` for Mul and Add with constants, which
   * fits any axis but no longer shows the four vectors.
   */
  readonly form?: OnnxForm;
  /** Whether to write a training graph, which this version cannot yet. */
  readonly training?: boolean;
  /** The name of the graph's input; default `"x"`. */
  readonly inputName?: string;
  /** The name of the graph's output; default `"y"`. */
  readonly outputName?: string;
}

/** {@linkcode BuildOnnxOptions}, checked and complete. */
export interface Plan {
  readonly opset: number;
  readonly irVersion: number;
  readonly form: OnnxForm;
  readonly inputName: string;
  readonly outputName: string;
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof BuildOnnxOptions, true>> = {
  inputShape: true,
  opset: true,
  form: true,
  training: true,
  inputName: true,
  outputName: true,
};

/**
 * Checks and completes the options, all but the shape.
 *
 * @throws {OptionError} If one is unknown or has a value that it cannot have.
 * @throws {UnsupportedError} If `training` is true.
 */
export function checkOptions(
  layer: BatchNormalization,
  options: BuildOnnxOptions,
): Plan {
  const fail = (what: string): OptionError =>
    new OptionError(`Cannot write layer "${layer.name}" as ONNX: ${what}`);
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(KNOWN, name)) {
      throw fail(
        `unknown option "${name}", expected ${Object.keys(KNOWN).join(", ")}`,
      );
    }
  }
  const {
    opset = DEFAULT_OPSET,
    form = "op",
    inputName = "x",
    outputName = "y",
  } = options;
  if (options.training) {
    throw new UnsupportedError(
      `Cannot write layer "${layer.name}" as an ONNX training graph: this version writes inference only, leave training out`,
    );
  }
  if (form !== "op" && form !== "affine") {
    throw fail(`expected form "op" or "affine", got ${String(form)}`);
  }
  const irVersion = irVersionOf(opset);
  if (irVersion === undefined) {
    throw fail(
      `expected an opset from ${OLDEST_OPSET} to ${NEWEST_OPSET}, got ${typeof opset} ${
        String(opset)
      }`,
    );
  }
  const { compute } = layer.options.dtype;
  if (compute === "bfloat16" && opset < BFLOAT16_OPSET) {
    throw fail(
      `bfloat16 needs an opset from ${BFLOAT16_OPSET} to ${NEWEST_OPSET}, got ${opset}`,
    );
  }
  for (const [option, name] of Object.entries({ inputName, outputName })) {
    if (typeof name !== "string" || name === "") {
      throw fail(`${option} must be a text that is not empty`);
    }
    // The names of all other values start with the layer's and a slash or
    // colon; equal ones would tie the graph into a knot.
    if (
      name.startsWith(`${layer.name}/`) || name.startsWith(`${layer.name}:`)
    ) {
      throw fail(
        `${option} "${name}" must not start with the layer's name, as the names of the graph's own values do`,
      );
    }
  }
  if (inputName === outputName) {
    throw fail(
      `inputName and outputName must differ, got "${inputName}" twice`,
    );
  }
  return { opset, irVersion, form, inputName, outputName };
}

/**
 * The shape as the layer wants it: null for every dynamic extent.
 *
 * @throws {ShapeError} If it is not a shape.
 */
export function checkShape(
  layer: BatchNormalization,
  shape: BuildOnnxOptions["inputShape"],
): (number | null)[] {
  const isExtent = (extent: unknown): boolean =>
    extent === null || (typeof extent === "string" && extent !== "") ||
    (Number.isSafeInteger(extent) && (extent as number) >= 0);
  if (!Array.isArray(shape) || !shape.every(isExtent)) {
    throw new ShapeError(
      `Cannot write layer "${layer.name}" as ONNX: expected an inputShape of non-negative integers, null or names, got ${
        JSON.stringify(shape)
      }`,
    );
  }
  return shape.map((extent) => typeof extent === "string" ? null : extent);
}

/** The shape with a name for every null that the caller has not taken. */
export function nameExtents(
  shape: BuildOnnxOptions["inputShape"],
): (number | string)[] {
  return shape.map((extent, d) => {
    if (extent !== null) return extent;
    let name = d === 0 ? "N" : `d${d}`;
    while (shape.includes(name)) name += "_";
    return name;
  });
}
