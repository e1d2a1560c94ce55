/**
 * How the variables of each format are replaced.
 *
 * @module
 */

import { FormatError, OptionError, UnsupportedError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";
import { elementCount, type Tensor } from "../../tensor.ts";
import type { KerasFormat } from "../contents/keras_format.ts";
import { type JsonObject, parseJsonObject } from "../files/json.ts";
import { littleEndianBytes, rawType, swapBytes } from "../files/raw_tensor.ts";
import { BytesFile, relativeParts } from "../files/source_file.ts";
import { isShardIndex, splitLocation } from "../formats/sharded_weights.ts";
import { updateHdf5 } from "../hdf5/write.ts";
import { parseNpyHeader } from "../numpy/npy.ts";
import { type Quantization, readManifest } from "../tfjs/manifest.ts";
import { isTfjs } from "../tfjs/model.ts";
import { encodeWeight } from "../tfjs/values.ts";
import { replaceMembers } from "../zip/replace.ts";
import { openZip } from "../zip/zip.ts";

/** A variable's new value. */
export interface NewVariable {
  /** Where it is, as the format's reader says. */
  readonly location: string;
  /** Of the file's element type and shape. */
  readonly tensor: Tensor;
}

type Files = ReadonlyMap<string, Uint8Array>;

/**
 * Replaces variables.
 *
 * @returns The files that change.
 */
export type Replacer = (
  files: Files,
  variables: readonly NewVariable[],
) => Promise<Map<string, Uint8Array>>;

/** A replacer for a format that is one file. */
function ofFile(
  replace: (
    bytes: Uint8Array,
    variables: readonly NewVariable[],
  ) => Uint8Array | Promise<Uint8Array>,
): Replacer {
  return async (files, variables) => {
    const [only, ...others] = files;
    if (!only || others.length > 0) {
      throw new OptionError(
        `Cannot replace weights: expected the one file that has them, got ${files.size}`,
      );
    }
    const [name, bytes] = only;
    return new Map([[name, await replace(bytes, variables)]]);
  };
}

function inHdf5(
  bytes: Uint8Array,
  variables: readonly NewVariable[],
): Promise<Uint8Array> {
  return updateHdf5(
    bytes,
    new Map(variables.map(({ location, tensor }) => [
      `/${location.replace(/^\/+/, "")}`,
      littleEndianBytes(tensor),
    ])),
  );
}

/** The weights of `.keras`, of all releases. */
const HDF5_MEMBERS = ["model.weights.h5", "variables.h5"];

async function inArchive(
  bytes: Uint8Array,
  variables: readonly NewVariable[],
): Promise<Uint8Array> {
  const archive = await openZip(bytes);
  const member = HDF5_MEMBERS.find((name) => archive.names.includes(name));
  if (member === undefined) {
    throw new UnsupportedError(
      "Cannot replace the weights of the archive: they are pickled Python objects (model.weights.npz), expected HDF5",
    );
  }
  const weights = await inHdf5(archive.read(member), variables);
  return await replaceMembers(bytes, new Map([[member, weights]]));
}

/** Where an element of an array is, counted in elements, whose first index changes fastest. */
function fortranIndex(index: number, dims: readonly number[]): number {
  let rest = index;
  let result = 0;
  for (let d = dims.length - 1; d >= 0; d--) {
    const extent = dims[d]!;
    result = result * extent + rest % extent;
    rest = Math.floor(rest / extent);
  }
  return result;
}

/** A `.npy` file with some of its elements, from `first` on, replaced. */
function inNpy(
  bytes: Uint8Array,
  { location, tensor }: NewVariable,
  first: number,
): Uint8Array {
  const header = parseNpyHeader(bytes, location);
  if (!header) {
    throw new FormatError(`Cannot write ${location}: expected a .npy array`);
  }
  const { descr, fortranOrder, dims, dataOffset } = header;
  const { bytes: size } = rawType(tensor.type)!;
  // A copy, which can be changed.
  const data = littleEndianBytes(tensor).slice();
  if (descr.startsWith(">")) swapBytes(data, size);
  const copy = bytes.slice();
  for (let i = 0; i * size < data.length; i++) {
    const index = fortranOrder ? fortranIndex(first + i, dims) : first + i;
    const part = data.subarray(i * size, (i + 1) * size);
    copy.set(part, dataOffset + index * size);
  }
  return copy;
}

/** Rows of one array; a variable that is all of it is row 0. */
function inRows(
  bytes: Uint8Array,
  variables: readonly NewVariable[],
): Uint8Array {
  return variables.reduce((file, variable) => {
    const length = elementCount(variable.tensor.dims);
    return inNpy(file, variable, Number(variable.location) * length);
  }, bytes);
}

async function inNpz(
  bytes: Uint8Array,
  variables: readonly NewVariable[],
): Promise<Uint8Array> {
  const archive = await openZip(bytes);
  return await replaceMembers(
    bytes,
    new Map(variables.map((variable) => {
      const member = `${variable.location}.npy`;
      return [member, inNpy(archive.read(member), variable, 0)];
    })),
  );
}

function inSafetensors(
  bytes: Uint8Array,
  variables: readonly NewVariable[],
): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // Checked when it was read.
  const start = 8 + Number(view.getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(8, start));
  const header = parseJsonObject(text, "the header");
  const copy = bytes.slice();
  for (const { location, tensor } of variables) {
    const { data_offsets } = header[location] as { data_offsets: number[] };
    copy.set(littleEndianBytes(tensor), start + data_offsets[0]!);
  }
  return copy;
}

/** The JSON file that names the others. */
function indexOf(
  files: Files,
  isIndex: (json: JsonObject) => boolean,
): { name: string; folder: string; json: JsonObject } {
  for (const [name, bytes] of files) {
    // Shards are not parsed.
    if (!name.endsWith(".json") && files.size > 1) continue;
    const json = parseJsonObject(new TextDecoder().decode(bytes), name);
    if (!isIndex(json)) continue;
    return { name, folder: name.slice(0, name.lastIndexOf("/") + 1), json };
  }
  throw new OptionError(
    "Cannot replace weights: expected a map with the model's JSON file, by a name that ends in .json",
  );
}

/** The name in the map of a file beside the index. */
function nameBeside(files: Files, folder: string, path: string): string {
  const wanted = folder + relativeParts(path).join("/");
  const plain = (name: string) =>
    name.split("/").filter((part) => part !== "." && part !== "").join("/");
  const name = [...files.keys()]
    .find((each) => plain(each) === plain(wanted));
  if (name !== undefined) return name;
  throw new FormatError(`Cannot replace weights: the file ${path} is missing`);
}

const inShards: Replacer = async (files, variables) => {
  const { folder } = indexOf(files, isShardIndex);
  const byShard = new Map<string, NewVariable[]>();
  for (const { location, tensor } of variables) {
    const [shard, path] = splitLocation(location);
    const there = byShard.get(shard) ?? [];
    there.push({ location: path, tensor });
    byShard.set(shard, there);
  }
  const changed = new Map<string, Uint8Array>();
  for (const [shard, inShard] of byShard) {
    const name = nameBeside(files, folder, shard);
    changed.set(name, await inHdf5(files.get(name)!, inShard));
  }
  return changed;
};

/** `model.json` with other quantizations of some weights. */
function withQuantizations(
  bytes: Uint8Array,
  name: string,
  quantizations: ReadonlyMap<string, Quantization>,
): Uint8Array {
  let json: { weightsManifest: { weights: JsonObject[] }[] };
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new UnsupportedError(
      `Cannot write ${name} anew for quantized weights: it has NaN or Infinity, which are no JSON`,
      { cause },
    );
  }
  for (const { weights } of json.weightsManifest) {
    for (const weight of weights) {
      const next = quantizations.get(weight.name as string);
      if (!next || !isObject(weight.quantization)) continue;
      Object.assign(weight.quantization, next);
    }
  }
  return new TextEncoder().encode(JSON.stringify(json));
}

const inTfjs: Replacer = async (files, variables) => {
  const { name, folder, json } = indexOf(files, isTfjs);
  const open = (path: string) => {
    const beside = nameBeside(files, folder, path);
    return Promise.resolve(new BytesFile(beside, files.get(beside)!));
  };
  const manifest = readManifest(json, open);
  const changed = new Map<string, Uint8Array>();
  const quantizations = new Map<string, Quantization>();
  for (const { location, tensor } of variables) {
    const weight = manifest.find((each) => each.name === location)!;
    const { bytes, quantization } = encodeWeight(weight, tensor);
    if (quantization && quantization.dtype !== "float16") {
      quantizations.set(location, quantization);
    }
    const offset = await weight.offset();
    let at = 0;
    for (const part of await weight.shards.parts(offset, bytes.length)) {
      const shard = nameBeside(files, folder, part.path);
      const copy = changed.get(shard) ?? files.get(shard)!.slice();
      copy.set(bytes.subarray(at, at + part.length), part.offset);
      changed.set(shard, copy);
      at += part.length;
    }
  }
  if (quantizations.size > 0) {
    changed.set(
      name,
      withQuantizations(files.get(name)!, name, quantizations),
    );
  }
  return changed;
};

/**
 * All formats whose variables can be replaced; a new one is one line here, with
 * its call marked pure, so that bundlers leave out all of it where nothing is
 * replaced.
 */
export const REPLACERS: Readonly<Partial<Record<KerasFormat, Replacer>>> = {
  h5: /* @__PURE__ */ ofFile(inHdf5),
  "h5-weights": /* @__PURE__ */ ofFile(inHdf5),
  keras: /* @__PURE__ */ ofFile(inArchive),
  "weights.h5": /* @__PURE__ */ ofFile(inHdf5),
  "weights.json": inShards,
  "tfjs-layers": inTfjs,
  "tfjs-graph": inTfjs,
  npz: /* @__PURE__ */ ofFile(inNpz),
  npy: /* @__PURE__ */ ofFile(inRows),
  safetensors: /* @__PURE__ */ ofFile(inSafetensors),
};
