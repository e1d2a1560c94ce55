/**
 * The models of `testdata/onnx/models/`, with what Python's onnx and
 * onnxruntime say of them.
 *
 * @module
 */

import type { Tensor } from "../../tensor.ts";
import { type Role, ROLES } from "../find.ts";

/** A tensor as the fixture scripts write it. */
export interface RecordedTensor {
  readonly dtype: Tensor["type"];
  readonly shape: readonly number[];
  /** Base64 of little-endian bytes. */
  readonly data: string;
}

/** What a BatchNormalization of a model is. */
export interface ExpectedNode {
  readonly name: string;
  /** The attributes and functions around it. */
  readonly scope: readonly string[];
  readonly opset: number;
  /** Of `spatial` 0, all elements of a sample. */
  readonly channels: number | null;
  readonly shape?: readonly number[];
  readonly spatial?: boolean;
  readonly epsilon: number;
  readonly momentum: number;
  readonly trainingMode: boolean;
  readonly gamma: readonly number[] | { readonly reason: string };
  readonly beta: readonly number[] | { readonly reason: string };
  readonly mean: readonly number[] | { readonly reason: string };
  readonly variance: readonly number[] | { readonly reason: string };
}

/** One model. */
export interface ModelCase {
  readonly name: string;
  readonly file: string;
  readonly note: string;
  /** Files beside it with elements of its tensors. */
  readonly external?: readonly string[];
  readonly batchNormalizations: readonly ExpectedNode[];
  /** What a real runtime made of an input. */
  readonly run: {
    readonly with: string;
    readonly inputs: Readonly<Record<string, RecordedTensor>>;
    readonly outputs: Readonly<Record<string, RecordedTensor>>;
  } | null;
  readonly fold?: unknown;
}

const FOLDER = new URL("../../../testdata/onnx/models/", import.meta.url);

/** All models. */
export const MODEL_CASES: readonly ModelCase[] = JSON.parse(
  Deno.readTextFileSync(new URL("../models.json", FOLDER)),
);

/** A model's bytes. */
export function readModel({ file }: ModelCase): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(file, FOLDER));
}

/** The model of a name. */
export function modelNamed(name: string): Uint8Array<ArrayBuffer> {
  return readModel(caseNamed(name));
}

/** The case of a name. */
export function caseNamed(name: string): ModelCase {
  const found = MODEL_CASES.find((each) => each.name === name);
  if (!found) throw new Error(`there is no model "${name}"`);
  return found;
}

/** The folder of the models, for their external data. */
export const MODEL_FOLDER: URL = FOLDER;

/** The files beside a model, by their location. */
export function externalOf(
  { external = [] }: ModelCase,
): Map<string, Uint8Array> {
  return new Map(
    external.map((name) => [name, Deno.readFileSync(new URL(name, FOLDER))]),
  );
}

/** A recorded tensor as ours. */
export function tensorOf({ dtype, shape, data }: RecordedTensor): Tensor {
  const { buffer } = Uint8Array.fromBase64(data);
  const arrays = {
    float32: Float32Array,
    float64: Float64Array,
    float16: Uint16Array,
    bfloat16: Uint16Array,
  };
  return { type: dtype, dims: shape, data: new arrays[dtype](buffer) };
}

/** The vectors that are known. */
export function knownRoles(node: ExpectedNode): Role[] {
  return ROLES.filter((role) => Array.isArray(node[role]));
}
