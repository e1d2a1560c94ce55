/**
 * `evenkeel convert` to ONNX: a model for each layer.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import type { BuildOnnxOptions } from "../onnx/build_options.ts";
import { NEWEST_OPSET, OLDEST_OPSET } from "../onnx/versions.ts";
import { type Arguments, UsageError } from "./command.ts";
import type { NamedLayer } from "./model.ts";
import { type GivenShapes, shapeError } from "./shapes.ts";

/** Options that only ONNX models have. */
export const ONNX_ONLY: readonly string[] = ["opset", "form"];

function readOpset(text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined;
  const opset = /^\d+$/.test(String(text)) ? Number(text) : NaN;
  if (!(opset >= OLDEST_OPSET && opset <= NEWEST_OPSET)) {
    throw new UsageError(
      `Cannot use --opset ${text}: expected an integer from ${OLDEST_OPSET} to ${NEWEST_OPSET}`,
    );
  }
  return opset;
}

function readForm(
  text: string | boolean | undefined,
): "op" | "affine" | undefined {
  if (text === undefined || text === "op" || text === "affine") return text;
  throw new UsageError(`Cannot use --form ${text}: expected op or affine`);
}

/** What the options say about the models. */
export type OnnxChoices = Pick<BuildOnnxOptions, "opset" | "form">;

/**
 * Reads the options that only ONNX models have.
 *
 * @throws {UsageError} If one has another value than it can have.
 */
export function readOnnxChoices({ options }: Arguments): OnnxChoices {
  const opset = readOpset(options.opset);
  const form = readForm(options.form);
  return {
    ...(opset === undefined ? {} : { opset }),
    ...(form === undefined ? {} : { form }),
  };
}

/** Builds a layer; a shape that does not fit is the command line's fault. */
export function buildLayer(
  { name, layer }: NamedLayer,
  options: BuildOnnxOptions,
  { all, byLayer }: GivenShapes,
): Uint8Array {
  try {
    return buildOnnx(layer, options);
  } catch (error) {
    const isGiven = all !== undefined || byLayer.has(name);
    if (!isGiven || !(error instanceof ShapeError)) throw error;
    throw shapeError(name, error);
  }
}
