/**
 * Large models that take hardly any room on the disk: 50 BatchNormalization
 * layers of 256 channels, and between them dense layers whose kernels are
 * zeros, which are left out as holes of the file.
 *
 * @module
 */

import { Zip, ZipPassThrough } from "fflate";
import * as h5wasm from "h5wasm";
import {
  bundle,
  type TensorOptions,
} from "../../src/keras/testing/bundle_builder.ts";

const LAYERS = 50;
const CHANNELS = 256;
/** How many large layers there are, evenly among the others. */
const LARGE = 4;
const VARIABLES = ["gamma", "beta", "moving_mean", "moving_variance"];

/** What is written at once. */
const PIECE = 2 ** 20;

/** A layer; a large one has bytes instead of variables. */
interface Layer {
  readonly name: string;
  readonly largeBytes?: number;
}

/** The layers of a model with so many bytes in its large layers. */
function layersOf(bytes: number): Layer[] {
  const layers: Layer[] = [];
  for (let i = 0; i < LAYERS; i++) {
    layers.push({ name: `bn_${i}` });
    if (bytes > 0 && i % Math.ceil(LAYERS / LARGE) === 0) {
      const largeBytes = 4 * Math.round(bytes / LARGE / 4);
      layers.push({ name: `dense_${i}`, largeBytes });
    }
  }
  return layers;
}

function values(layer: number, variable: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: CHANNELS },
    (_, i) => 1 + (layer * 7 + variable * 3 + i) % 11 / 11,
  );
}

/** The variables of a layer by name; those of a large one have no values. */
function variablesOf(
  { name, largeBytes }: Layer,
): { name: string; bytes: number; data?: Float32Array<ArrayBuffer> }[] {
  if (largeBytes !== undefined) return [{ name: "kernel", bytes: largeBytes }];
  const number = Number(name.slice("bn_".length));
  return VARIABLES.map((variable, i) => {
    const data = values(number, i);
    return { name: variable, bytes: data.byteLength, data };
  });
}

/** Writes a part of a file, and leaves a hole where it is all zeros. */
function writeAt(
  file: Deno.FsFile,
  position: number,
  bytes: Uint8Array,
): void {
  for (let at = 0; at < bytes.length; at += PIECE) {
    const piece = bytes.subarray(at, at + PIECE);
    if (piece.every((byte) => byte === 0)) continue;
    file.seekSync(position + at, Deno.SeekMode.Start);
    for (let done = 0; done < piece.length;) {
      done += file.writeSync(piece.subarray(done));
    }
  }
}

function create(path: string): Deno.FsFile {
  return Deno.openSync(path, {
    read: true,
    write: true,
    create: true,
    truncate: true,
  });
}

/** The part of Emscripten's file system that is replaced. */
interface Node {
  usedBytes: number;
  node_ops: Record<string, unknown>;
  stream_ops: Record<string, unknown>;
}

/** Calls something with an HDF5 file of h5wasm's that is a real one on the disk. */
async function withHdf5(
  path: string,
  call: (root: h5wasm.File) => void,
): Promise<void> {
  const { FS } = await h5wasm.ready;
  using file = create(path);
  const node = (FS as unknown as { create(name: string): Node })
    .create("/large.h5");
  node.node_ops = {
    ...node.node_ops,
    setattr(_: Node, { size }: { size?: number }) {
      if (size === undefined) return;
      node.usedBytes = size;
      file.truncateSync(size);
    },
  };
  type Transfer = [
    stream: unknown,
    memory: Int8Array<ArrayBuffer>,
    start: number,
    length: number,
    position: number,
  ];
  const view = ([, { buffer }, start, length]: Transfer): Uint8Array =>
    new Uint8Array(buffer, start, length);
  node.stream_ops = {
    ...node.stream_ops,
    write(...transfer: Transfer) {
      const [, , , length, position] = transfer;
      node.usedBytes = Math.max(node.usedBytes, position + length);
      writeAt(file, position, view(transfer));
      return length;
    },
    read(...transfer: Transfer) {
      file.seekSync(transfer[4], Deno.SeekMode.Start);
      return file.readSync(view(transfer)) ?? 0;
    },
  };
  const root = new h5wasm.File("/large.h5", "a");
  try {
    call(root);
  } finally {
    root.close();
    FS.unlink("/large.h5");
  }
}

function addDataset(
  group: h5wasm.Group,
  name: string,
  { bytes, data }: { bytes: number; data?: Float32Array },
): void {
  group.create_dataset({
    name,
    data: data ?? new Float32Array(bytes / 4),
    shape: [bytes / 4],
  });
}

function configOf(layers: readonly Layer[]): string {
  return JSON.stringify({
    class_name: "Functional",
    config: {
      name: "model",
      layers: layers.map(({ name, largeBytes }) => ({
        class_name: largeBytes === undefined ? "BatchNormalization" : "Dense",
        config: { name, trainable: true },
      })),
    },
  });
}

/** A whole model in Keras' old format. */
async function writeH5(path: string, bytes: number): Promise<void> {
  const layers = layersOf(bytes);
  await withHdf5(path, (root) => {
    root.create_attribute("keras_version", "2.4.0");
    root.create_attribute("model_config", configOf(layers));
    const weights = root.create_group("model_weights");
    weights.create_attribute("layer_names", layers.map(({ name }) => name));
    for (const layer of layers) {
      const { name } = layer;
      const variables = variablesOf(layer);
      const group = weights.create_group(name);
      const names = variables.map((each) => `${name}/${each.name}:0`);
      group.create_attribute("weight_names", names);
      const inner = group.create_group(name);
      for (const each of variables) addDataset(inner, `${each.name}:0`, each);
    }
  });
}

/** The weights of a model in Keras 3's format. */
async function writeWeightsH5(path: string, bytes: number): Promise<void> {
  await withHdf5(path, (root) => {
    const all = root.create_group("layers");
    for (const layer of layersOf(bytes)) {
      const group = all.create_group(layer.name).create_group("vars");
      group.create_attribute("name", layer.name);
      variablesOf(layer).forEach((each, i) => addDataset(group, `${i}`, each));
    }
  });
}

/** An archive of Keras 3's. */
async function writeKeras(path: string, bytes: number): Promise<void> {
  const weights = `${path}.weights`;
  await writeWeightsH5(weights, bytes);
  using from = Deno.openSync(weights);
  using to = create(path);
  let end = 0;
  const zip = new Zip((error, piece) => {
    if (error) throw error;
    writeAt(to, end, piece);
    end += piece.length;
  });
  const config = new ZipPassThrough("config.json");
  zip.add(config);
  config.push(new TextEncoder().encode(configOf(layersOf(bytes))), true);
  const member = new ZipPassThrough("model.weights.h5");
  zip.add(member);
  const piece = new Uint8Array(PIECE);
  for (let length; (length = from.readSync(piece)) !== null;) {
    member.push(piece.subarray(0, length));
  }
  member.push(new Uint8Array(0), true);
  zip.end();
  Deno.removeSync(weights);
}

function writeSafetensors(path: string, bytes: number): Promise<void> {
  const entries: Record<string, unknown> = {};
  const parts: { at: number; data: Float32Array<ArrayBuffer> }[] = [];
  let at = 0;
  for (const layer of layersOf(bytes)) {
    for (const { name, bytes, data } of variablesOf(layer)) {
      entries[`${layer.name}.${name}`] = {
        dtype: "F32",
        shape: [bytes / 4],
        data_offsets: [at, at + bytes],
      };
      if (data) parts.push({ at, data });
      at += bytes;
    }
  }
  const header = new TextEncoder().encode(JSON.stringify(entries));
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(header.length), true);
  using file = create(path);
  const start = 8 + header.length;
  file.truncateSync(start + at);
  writeAt(file, 0, new Uint8Array(length.buffer));
  writeAt(file, 8, header);
  for (const { at, data } of parts) {
    writeAt(file, start + at, new Uint8Array(data.buffer));
  }
  return Promise.resolve();
}

/** A checkpoint of names; the path is that of its index. */
function writeCheckpoint(path: string, bytes: number): Promise<void> {
  const tensors: Record<string, TensorOptions> = {};
  const large: string[] = [];
  let at = 0;
  for (const layer of layersOf(bytes)) {
    for (const { name, bytes, data } of variablesOf(layer)) {
      const dims = [bytes / 4];
      const key = `${layer.name}/${name}`;
      if (data) {
        tensors[key] = { dims, data: new Uint8Array(data.buffer) };
        at += bytes;
      } else {
        tensors[key] = { dims, size: bytes };
        large.push(key);
      }
    }
  }
  for (const key of large) {
    const size = tensors[key]!.size!;
    tensors[key] = { ...tensors[key]!, offset: at };
    at += size;
  }
  const prefix = path.slice(path.lastIndexOf("/") + 1, -".index".length);
  const [index, data] = bundle(tensors, undefined, prefix).values();
  Deno.writeFileSync(path, index!);
  using file = create(path.replace(/index$/, "data-00000-of-00001"));
  file.truncateSync(at);
  writeAt(file, 0, data!);
  return Promise.resolve();
}

/** What writes a file of each format, by the ending of its name. */
export const WRITERS: Readonly<
  Record<string, (path: string, bytes: number) => Promise<void>>
> = {
  ".h5": writeH5,
  ".weights.h5": writeWeightsH5,
  ".keras": writeKeras,
  ".safetensors": writeSafetensors,
  ".index": writeCheckpoint,
};
