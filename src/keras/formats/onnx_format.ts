/**
 * ONNX models as a source of weights: each BatchNormalization node is a layer
 * of axis 1 with the node's epsilon and momentum.
 *
 * ONNX stores the variance of the population in training, as Keras 3 does, so
 * that the layers follow that release.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { KerasConfig } from "../../layer/config.ts";
import type { WeightName } from "../../layer/weights.ts";
import { checkLocation } from "../../onnx/external_data.ts";
import type { ExternalData } from "../../onnx/external_data.ts";
import {
  type OnnxBatchNormalization,
  type OnnxModel,
  openOnnx,
} from "../../onnx/onnx_model.ts";
import { ModelField } from "../../onnx/schema_fields.ts";
import type { ElementType, Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { FormatReader } from "../contents/format_reader.ts";
import { type Found, NOTHING_FOUND } from "../contents/found.ts";
import type { Probe } from "../contents/probe.ts";
import {
  readAll,
  type SourceFile,
  type SourceFolder,
} from "../files/source_file.ts";

/** Keras' names of ONNX' vectors, in Keras' order. */
const ROLES = [
  ["gamma", "gamma"],
  ["beta", "beta"],
  ["moving_mean", "mean"],
  ["moving_variance", "variance"],
] as const satisfies readonly (readonly [
  WeightName,
  keyof OnnxBatchNormalization["source"],
])[];

/** Whether a field of a model is a number, or else a message or text; undefined if it is not known. */
function isNumberField(field: number): boolean | undefined {
  switch (field) {
    case ModelField.irVersion:
    case ModelField.modelVersion:
      return true;
    case ModelField.producerName:
    case ModelField.producerVersion:
    case ModelField.domain:
    case ModelField.docString:
    case ModelField.graph:
    case ModelField.opsetImport:
    case ModelField.metadataProps:
    case ModelField.trainingInfo:
    case ModelField.functions:
      return false;
    default:
      return undefined;
  }
}

const NUMBER = 0;
const MESSAGE = 2;

/** Reads protobuf's integers, of which seven bits stand in each byte. */
class Varints {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The next integer; undefined if the bytes end before it does. */
  next(): number | undefined {
    let value = 0;
    for (let scale = 1; this.at < this.#bytes.length; scale *= 128) {
      const byte = this.#bytes[this.at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return undefined;
  }
}

/**
 * Whether a file begins as an ONNX model does. The format has no signature,
 * but its fields are known, and say how long they are.
 */
function beginsAsOnnx({ head, file }: Probe): boolean {
  const reader = new Varints(head);
  for (let count = 0; reader.at < file.size; count++) {
    const tag = reader.next();
    const value = reader.next();
    // The head ends within a field; it began as one.
    if (tag === undefined || value === undefined) return count > 1;
    const field = Math.floor(tag / 8);
    const isNumber = isNumberField(field);
    if (isNumber === undefined) return false;
    // Every model begins with it.
    if (count === 0 && field !== ModelField.irVersion) return false;
    if (tag % 8 !== (isNumber ? NUMBER : MESSAGE)) return false;
    if (!isNumber) reader.at += value;
    if (reader.at > file.size) return false;
    if (reader.at >= head.length) return count > 0;
  }
  return false;
}

/**
 * Whether a file is an ONNX model: what begins as one, and what is called one
 * and begins with fields that are not known or in another order.
 */
function detect(probe: Probe): boolean {
  return beginsAsOnnx(probe) || /\.onnx$/i.test(probe.file.name);
}

/** A part of a file that a model names. */
interface Part {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

function partKey({ location, offset, length }: Part): string {
  return `${offset}+${length} ${location}`;
}

async function readPart(
  folder: SourceFolder,
  { location, offset, length }: Part,
): Promise<Uint8Array> {
  const file = await folder.open(checkLocation(location).join("/"));
  if (file) return await file.read(offset, length);
  throw new FormatError(
    `its elements are in the file "${location}", which is not beside the model`,
  );
}

/** The parts of other files that the layers need; of the rest, nothing is read. */
async function readParts(
  bytes: Uint8Array,
  folder: SourceFolder,
): Promise<Map<string, Uint8Array | FormatError>> {
  const wanted = new Map<string, Part>();
  openOnnx(bytes, {
    externalData(location, offset, length) {
      const part = { location, offset, length };
      wanted.set(partKey(part), part);
      // Taken as the reason why a vector is not known, for now.
      throw new FormatError("it is read next");
    },
  });
  const parts = new Map<string, Uint8Array | FormatError>();
  for (const [key, part] of wanted) {
    try {
      parts.set(key, await readPart(folder, part));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      parts.set(key, error);
    }
  }
  return parts;
}

async function openModel(
  file: SourceFile,
  folder: SourceFolder,
): Promise<OnnxModel> {
  const bytes = await readAll(file);
  const parts = await readParts(bytes, folder);
  const externalData: ExternalData = (location, offset, length) => {
    const part = parts.get(partKey({ location, offset, length }))!;
    if (part instanceof FormatError) throw part;
    return part;
  };
  return openOnnx(bytes, { externalData });
}

/**
 * The dtype of a layer, by the types of its vectors: statistics may be wider
 * than scale and B; undefined for what no policy of Keras' is.
 */
function dtypeOf(types: ReadonlySet<ElementType>): string | undefined {
  const [first] = types;
  if (types.size === 1) return first;
  if (types.size !== 2 || !types.has("float32")) return undefined;
  if (types.has("float16")) return "mixed_float16";
  return types.has("bfloat16") ? "mixed_bfloat16" : undefined;
}

/** Why a node is no layer, as far as the file tells. */
function problemOf(
  { epsilon, momentum, source, ...node }: OnnxBatchNormalization,
  dtype: string | undefined,
): string | undefined {
  for (const [, role] of ROLES) {
    const tensor = node[role];
    if (!tensor) return `its ${role} is not known: ${source[role]}`;
    if (tensor.dims.length !== 1) {
      return `its ${role} has the shape [${
        tensor.dims.join(", ")
      }], expected a value for each channel`;
    }
  }
  if (Number.isNaN(epsilon) || Number.isNaN(momentum)) {
    return "it stands in a function that is called with several values of epsilon or momentum: give them in the option layers";
  }
  return dtype === undefined
    ? "its vectors have types that no layer of Keras has together: give a dtype in the option layers"
    : undefined;
}

function variableOf(
  name: WeightName,
  location: string,
  tensor: Tensor,
): FileVariable {
  return {
    name,
    location,
    type: tensor.type,
    dims: tensor.dims,
    read: () => tensor,
  };
}

/** A node's name without what it stands in: Keras 3 has no names with `/`. */
function layerName(name: string): string {
  return name.split("/").findLast((part) => part !== "") ??
    "batch_normalization";
}

function foundFor(node: OnnxBatchNormalization): Found {
  const { name, epsilon, momentum, trainingMode, source } = node;
  const roles = new Map<WeightName, FileVariable>();
  for (const [role, key] of ROLES) {
    const tensor = node[key];
    if (tensor) roles.set(role, variableOf(role, source[key], tensor));
  }
  const variables = [...roles.values()];
  const types = variables.map(({ type }) => type as ElementType);
  const dtype = dtypeOf(new Set(types));
  const config: KerasConfig = {
    name: layerName(name),
    axis: 1,
    epsilon,
    momentum,
    ...(dtype === undefined ? {} : { dtype }),
  };
  const found: Found = {
    ...NOTHING_FOUND,
    name,
    path: [name],
    className: "BatchNormalization",
    config,
    entry: { class_name: "BatchNormalization", config },
    location: name,
    variables,
    roles,
    verdict: "certain",
  };
  const problem = problemOf(node, dtype);
  if (problem !== undefined) {
    return { ...found, verdict: "possible", reason: problem };
  }
  return trainingMode
    ? {
      ...found,
      verdict: "recognized",
      reason:
        "its training_mode is on: the model itself normalizes with each batch's own statistics, and the layer does so in training only",
    }
    : found;
}

/** ONNX models. */
export const ONNX_FORMAT: FormatReader = {
  what: "an ONNX model",
  rank: 1,
  detect,
  async open(file, folder) {
    const { batchNormalizations } = await openModel(file, folder);
    return {
      format: "onnx",
      kerasVersion: undefined,
      follows: "3",
      config: undefined,
      weights: { kind: "layers", layers: batchNormalizations.map(foundFor) },
      close: () => {},
    };
  },
};
