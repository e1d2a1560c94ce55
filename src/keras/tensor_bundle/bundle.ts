/**
 * TensorFlow's tensor bundle, which checkpoints and the variables of a
 * SavedModel are: `P.index`, a table of what is where, and the data in
 * `P.data-00000-of-00002` and so on.
 *
 * Only the index is read at first, and of the data what is asked for; every
 * tensor's checksum is verified.
 *
 * @see https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/protobuf/tensor_bundle.proto
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../../errors.ts";
import { readFields, WireType } from "../../onnx/wire_reader.ts";
import { elementCount } from "../../tensor.ts";
import { swapBytes } from "../files/raw_tensor.ts";
import { readAll, type SourceFile } from "../files/source_file.ts";
import { crc32c, maskedCrc } from "./crc32c.ts";
import { Cursor } from "./cursor.ts";
import { type DataType, dataTypeOf, STRING } from "./data_types.ts";
import { isSliceKey, type SliceExtent, sliceKey } from "./ordered_code.ts";
import { copySlice, type Region, regionOf } from "./slices.ts";
import { byteString, readTable } from "./table.ts";

/** Opens a file of the same folder; undefined if there is none of that name. */
export type OpenFile = (name: string) => Promise<SourceFile | undefined>;

/** A tensor of a bundle. */
export interface BundleTensor {
  /** Its key. */
  readonly name: string;
  /** The element type, in numpy's words. */
  readonly type: string;
  /** The extents. */
  readonly dims: readonly number[];
  /**
   * Reads its elements: little-endian, in row-major order, in an array of
   * their own.
   *
   * @throws {FormatError} If the data is truncated or damaged, or the
   * elements have no fixed size.
   */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

/** The key of the header. */
const HEADER_KEY = "";
/** The newest version that is known. */
const VERSION = 1;
const BIG_ENDIAN = 1;
const INDEX = ".index";

interface Header {
  readonly shards: number;
  readonly isBigEndian: boolean;
}

/** What the index says about a tensor. */
interface Entry {
  readonly type: DataType;
  readonly code: number;
  readonly dims: readonly number[];
  readonly shard: number;
  readonly offset: number;
  readonly size: number;
  readonly crc: number;
  /** The parts of a partitioned variable, which have keys of their own. */
  readonly slices: readonly (readonly SliceExtent[])[];
}

function readHeader(bytes: Uint8Array | undefined, name: string): Header {
  if (!bytes) {
    throw new FormatError(
      `Cannot read ${name}: it has no header; it is damaged, or no checkpoint`,
    );
  }
  let shards = 0;
  let endianness = 0;
  let minConsumer = 0;
  for (const field of readFields(bytes)) {
    if (field.number === 1 && field.wireType === WireType.lengthDelimited) {
      throw new UnsupportedError(
        `Cannot read ${name}: it is a checkpoint in the format from before TensorFlow 0.12 (V1); write it again with tf.compat.v1.train.Saver, whose default is V2`,
      );
    }
    if (field.number === 1) shards = field.integer();
    else if (field.number === 2) endianness = field.integer();
    else if (field.number === 3) {
      for (const part of field.fields()) {
        if (part.number === 2) minConsumer = part.integer();
      }
    }
  }
  if (minConsumer > VERSION) {
    throw new UnsupportedError(
      `Cannot read ${name}: it asks for version ${minConsumer} of the format, ${VERSION} is known`,
    );
  }
  if (shards < 1) {
    throw new FormatError(
      `Cannot read ${name}: its header declares ${shards} shards; it is damaged`,
    );
  }
  return { shards, isBigEndian: endianness === BIG_ENDIAN };
}

function readShape(bytes: Uint8Array): number[] {
  const dims: number[] = [];
  for (const field of readFields(bytes)) {
    if (field.number !== 2) continue;
    let extent = 0;
    for (const part of field.fields()) {
      if (part.number === 1) extent = part.integer();
    }
    dims.push(extent);
  }
  return dims;
}

function readSlice(bytes: Uint8Array): SliceExtent[] {
  const extents: SliceExtent[] = [];
  for (const field of readFields(bytes)) {
    if (field.number !== 1) continue;
    let start = 0;
    let length: number | undefined;
    for (const part of field.fields()) {
      if (part.number === 1) start = part.integer();
      else if (part.number === 2) length = part.integer();
    }
    extents.push({ start, length });
  }
  return extents;
}

function readEntry(bytes: Uint8Array): Entry {
  let code = 0;
  let dims: readonly number[] = [];
  let shard = 0;
  let offset = 0;
  let size = 0;
  let crc = 0;
  const slices: SliceExtent[][] = [];
  for (const field of readFields(bytes)) {
    switch (field.number) {
      case 1:
        code = field.integer();
        break;
      case 2:
        dims = readShape(field.data());
        break;
      case 3:
        shard = field.integer();
        break;
      case 4:
        offset = field.integer();
        break;
      case 5:
        size = field.integer();
        break;
      case 6:
        crc = field.fixed32();
        break;
      case 7:
        slices.push(readSlice(field.data()));
        break;
    }
  }
  // Shows a shape that no tensor has.
  elementCount(dims);
  return {
    type: dataTypeOf(code),
    code,
    dims,
    shard,
    offset,
    size,
    crc,
    slices,
  };
}

function keyOf(name: string): string {
  return byteString(new TextEncoder().encode(name));
}

/** UTF-8, which the names are. */
function nameOf(key: string): string {
  return new TextDecoder().decode(
    Uint8Array.from(key, (char) => char.charCodeAt(0)),
  );
}

/** The last part of an index's name, without its ending; of a URL, as it is in a folder. */
function prefixOf(name: string): string {
  let path = name;
  if (/^[a-z][a-z\d+.-]+:\/\//i.test(name)) {
    try {
      path = decodeURIComponent(new URL(name).pathname);
    } catch {
      // A path after all, or one that is not encoded.
    }
  }
  const last = path.slice(
    Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1,
  );
  if (!last.endsWith(INDEX) || last === INDEX) {
    throw new FormatError(
      `Cannot read the checkpoint ${name}: expected a name that ends with ${INDEX}, by which its data files are found; give a path, a URL, or a map with ckpt.index and ckpt.data-00000-of-00001`,
    );
  }
  return last.slice(0, -INDEX.length);
}

function padded(count: number): string {
  return String(count).padStart(5, "0");
}

/** A tensor bundle of which the index is read. */
export class TensorBundle {
  readonly #name: string;
  readonly #open: OpenFile;
  readonly #table: Map<string, Uint8Array>;
  readonly #header: Header;
  readonly #shards = new Map<number, Promise<SourceFile>>();

  private constructor(
    name: string,
    open: OpenFile,
    table: Map<string, Uint8Array>,
  ) {
    this.#name = name;
    this.#open = open;
    this.#table = table;
    this.#header = readHeader(table.get(HEADER_KEY), name);
  }

  /**
   * Opens a bundle.
   *
   * @param index The index.
   * @param open Opens the data files, by names such as
   * `ckpt.data-00000-of-00001`.
   *
   * @throws {FormatError} If the index is truncated or damaged.
   * @throws {UnsupportedError} If it is of an older or newer format.
   */
  static async open(index: SourceFile, open: OpenFile): Promise<TensorBundle> {
    const table = readTable(await readAll(index), index.name);
    return new TensorBundle(index.name, open, table);
  }

  /** The keys of the tensors, in the order of their bytes. */
  *names(): Generator<string> {
    for (const key of this.#table.keys()) {
      if (key !== HEADER_KEY && !isSliceKey(key)) yield nameOf(key);
    }
  }

  /**
   * A tensor; undefined if there is none of that name.
   *
   * @throws {FormatError} If its entry is damaged.
   */
  get(name: string): BundleTensor | undefined {
    const key = keyOf(name);
    if (key === HEADER_KEY) return undefined;
    const entry = this.#entry(key, name);
    return entry && {
      name,
      type: entry.type.name,
      dims: entry.dims,
      read: () => this.#read(name, key, entry),
    };
  }

  /**
   * Reads a tensor that is one string.
   *
   * @returns Its bytes; undefined if there is no tensor of that name.
   *
   * @throws {FormatError} If it is no string, truncated or damaged.
   */
  async string(name: string): Promise<Uint8Array | undefined> {
    const entry = this.#entry(keyOf(name), name);
    if (!entry) return undefined;
    if (entry.code !== STRING || elementCount(entry.dims) !== 1) {
      throw this.#damaged(
        name,
        `expected one string, found ${entry.type.name} [${
          entry.dims.join(", ")
        }]`,
      );
    }
    const data = await this.#data(name, entry);
    const cursor = new Cursor(data, `${name} in ${this.#name}`);
    const length = cursor.varint();
    // Stored as a varint, but both checksums are of a plain number.
    const isLong = length >= 2 ** 32;
    const plain = new DataView(new ArrayBuffer(isLong ? 8 : 4));
    if (isLong) plain.setBigUint64(0, BigInt(length), true);
    else plain.setUint32(0, length, true);
    const lengths = crc32c(new Uint8Array(plain.buffer));
    const stored = cursor.take(4);
    if (maskedCrc(lengths) !== new Cursor(stored, name).uint32()) {
      throw this.#damaged(name, "the checksum of its length is wrong");
    }
    const text = cursor.take(length);
    this.#check(name, entry, crc32c(text, crc32c(stored, lengths)));
    return text;
  }

  #damaged(name: string, problem: string): FormatError {
    return new FormatError(
      `Cannot read ${name} in ${this.#name}: ${problem}; the checkpoint is truncated or damaged`,
    );
  }

  #entry(key: string, name: string): Entry | undefined {
    const bytes = this.#table.get(key);
    if (!bytes) return undefined;
    try {
      return readEntry(bytes);
    } catch (cause) {
      if (!(cause instanceof Error)) throw cause;
      throw new FormatError(
        `Cannot read the entry of ${name} in ${this.#name}: ${cause.message}`,
        { cause },
      );
    }
  }

  #check(name: string, { crc }: Entry, actual: number): void {
    if (maskedCrc(actual) === crc) return;
    throw this.#damaged(name, "the checksum of its data is wrong");
  }

  async #shard(number: number): Promise<SourceFile> {
    const { shards } = this.#header;
    if (number < 0 || number >= shards) {
      throw new FormatError(
        `Cannot read shard ${number} of ${this.#name}: it has ${shards}; it is damaged`,
      );
    }
    let opening = this.#shards.get(number);
    if (!opening) {
      opening = this.#openShard(number);
      this.#shards.set(number, opening);
    }
    return await opening;
  }

  async #openShard(number: number): Promise<SourceFile> {
    const name = `${prefixOf(this.#name)}.data-${padded(number)}-of-${
      padded(this.#header.shards)
    }`;
    const file = await this.#open(name);
    if (file) return file;
    throw new FormatError(
      `Cannot read the checkpoint ${this.#name}: expected its data in ${name} beside it, there is no such file`,
    );
  }

  /** The bytes of an entry, as they are in the file. */
  async #data(
    name: string,
    { shard, offset, size }: Entry,
  ): Promise<Uint8Array> {
    const file = await this.#shard(shard);
    if (offset < 0 || size < 0 || offset + size > file.size) {
      throw this.#damaged(
        name,
        `expected ${size} bytes at byte ${offset} of ${file.name}, which has ${file.size}`,
      );
    }
    return await file.read(offset, size);
  }

  /** The bytes that an entry's elements take. */
  #sizeOf(name: string, { type, dims }: Entry): number {
    if (type.bytes === undefined) {
      throw new FormatError(
        `Cannot read ${name} in ${this.#name}: expected numbers, found ${type.name}`,
      );
    }
    return elementCount(dims) * type.bytes;
  }

  async #read(
    name: string,
    key: string,
    entry: Entry,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (entry.slices.length > 0) {
      return await this.#readSlices(name, key, entry);
    }
    const size = this.#sizeOf(name, entry);
    if (size !== entry.size) {
      throw this.#damaged(
        name,
        `${entry.type.name} [${
          entry.dims.join(", ")
        }] takes ${size} bytes, the index says ${entry.size}`,
      );
    }
    const data = await this.#data(name, entry);
    this.#check(name, entry, crc32c(data));
    const bytes = new Uint8Array(data);
    if (this.#header.isBigEndian) swapBytes(bytes, entry.type.bytes!);
    return bytes;
  }

  async #readSlices(
    name: string,
    key: string,
    entry: Entry,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const parts = entry.slices.map((extents) =>
      this.#slice(name, key, entry, extents)
    );
    const total = this.#sizeOf(name, entry);
    // Each part is checked against its own size: the sum is what the shards
    // must hold, unless several parts say that they are in one place.
    const covered = parts.reduce((sum, part) => sum + part.entry.size, 0);
    const shards = await Promise.all(
      [...new Set(parts.map((part) => part.entry.shard))]
        .map((shard) => this.#shard(shard)),
    );
    const there = shards.reduce((sum, { size }) => sum + size, 0);
    if (covered !== total || total > there) {
      throw this.#damaged(
        name,
        `its ${parts.length} slices have ${covered} bytes of ${total}, and the data files ${there}`,
      );
    }
    const bytes = new Uint8Array(total);
    const isSet = new Uint8Array(total);
    for (const part of parts) {
      const data = await this.#read(name, part.key, part.entry);
      const size = entry.type.bytes!;
      copySlice(bytes, entry.dims, data, part.region, size);
      copySlice(
        isSet,
        entry.dims,
        new Uint8Array(data.length).fill(1),
        part.region,
        size,
      );
    }
    if (isSet.includes(0)) {
      throw this.#damaged(name, "its slices overlap, and leave something out");
    }
    return bytes;
  }

  #slice(
    name: string,
    key: string,
    { code, dims }: Entry,
    extents: readonly SliceExtent[],
  ): { key: string; entry: Entry; region: Region } {
    const region = regionOf(dims, extents);
    const own = sliceKey(key, extents);
    const entry = this.#entry(own, name);
    const isFitting = region && entry && entry.code === code &&
      entry.slices.length === 0 && entry.dims.join() === region.dims.join();
    if (!isFitting) {
      const place = extents.map(({ start, length }) =>
        length === undefined ? ":" : `${start}:${start + length}`
      );
      throw this.#damaged(
        name,
        `its slice [${place.join(", ")}] of [${dims.join(", ")}] is ${
          !region
            ? "not within it"
            : entry
            ? `stored as ${entry.type.name} [${entry.dims.join(", ")}]`
            : "not there"
        }`,
      );
    }
    return { key: own, entry, region };
  }
}
