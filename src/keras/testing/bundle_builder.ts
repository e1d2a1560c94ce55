/**
 * Writes TensorFlow's tables and tensor bundles, as TensorFlow does or with
 * something wrong in them.
 *
 * @module
 */

import { joinBytes } from "../../bytes.ts";
import { BytesFile, type SourceFile } from "../files/source_file.ts";
import { crc32c, maskedCrc } from "../tensor_bundle/crc32c.ts";

const MAGIC = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb];
const FOOTER_BYTES = 48;

/** An unsigned integer, seven bits per byte. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
    bytes.push(rest % 0x80 | 0x80);
  }
  return [...bytes, rest];
}

function uint32(value: number): number[] {
  return [0, 8, 16, 24].map((shift) => value >>> shift & 0xff);
}

/** Text as bytes, each character one. */
export function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

/** Several arrays as one. */
export function joined(
  ...parts: readonly ArrayLike<number>[]
): Uint8Array<ArrayBuffer> {
  return joinBytes(parts.map((part) => new Uint8Array(part)));
}

/** One entry of a block, as it is stored. */
export interface RawEntry {
  readonly shared: number;
  readonly unshared: Uint8Array;
  readonly value: Uint8Array;
}

/** A block of entries as they are given, with restart points every `interval`. */
export function rawBlock(
  entries: readonly RawEntry[],
  interval = 16,
): Uint8Array<ArrayBuffer> {
  const parts: ArrayLike<number>[] = [];
  const restarts = [0];
  let at = 0;
  entries.forEach(({ shared, unshared, value }, i) => {
    if (i > 0 && i % interval === 0) restarts.push(at);
    const entry = joined(
      varint(shared),
      varint(unshared.length),
      varint(value.length),
      unshared,
      value,
    );
    at += entry.length;
    parts.push(entry);
  });
  return joined(...parts, ...restarts.map(uint32), uint32(restarts.length));
}

function commonStart(a: string, b: string): number {
  let shared = 0;
  while (shared < a.length && a[shared] === b[shared]) shared++;
  return shared;
}

/** A block of keys, whose bytes are characters, and values. */
export function block(
  entries: readonly (readonly [string, Uint8Array])[],
  interval = 16,
): Uint8Array<ArrayBuffer> {
  return rawBlock(
    entries.map(([key, value], i) => {
      const shared = i % interval === 0
        ? 0
        : commonStart(entries[i - 1]![0], key);
      return { shared, unshared: latin1(key.slice(shared)), value };
    }),
    interval,
  );
}

/** A table of data blocks that are given as they are. */
export function tableOfBlocks(
  blocks: readonly Uint8Array[],
  compression = 0,
): Uint8Array<ArrayBuffer> {
  const parts: ArrayLike<number>[] = [];
  let at = 0;
  const append = (contents: Uint8Array, type: number): number[] => {
    const stored = joined(contents, [type]);
    const place = [...varint(at), ...varint(contents.length)];
    parts.push(stored, uint32(maskedCrc(crc32c(stored))));
    at += stored.length + 4;
    return place;
  };
  const places = blocks.map((contents) => append(contents, compression));
  const meta = append(rawBlock([]), 0);
  const index = append(
    block(
      places.map((place, i) =>
        [String.fromCharCode(0x61 + i), Uint8Array.from(place)] as const
      ),
      1,
    ),
    0,
  );
  const footer = new Uint8Array(FOOTER_BYTES);
  footer.set([...meta, ...index]);
  footer.set(MAGIC, FOOTER_BYTES - MAGIC.length);
  return joined(...parts, footer);
}

/** A table, with so many entries in a block. */
export function table(
  entries: readonly (readonly [string, Uint8Array])[],
  perBlock = 4,
): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  for (let i = 0; i < entries.length; i += perBlock) {
    blocks.push(block(entries.slice(i, i + perBlock), 2));
  }
  return tableOfBlocks(blocks);
}

type FieldValue = number | string | Uint8Array | { readonly fixed32: number };

/** A protobuf message; zeros are written too. */
export function message(
  ...fields: readonly (readonly [number, FieldValue])[]
): Uint8Array<ArrayBuffer> {
  return joined(...fields.map(([number, value]) => {
    if (typeof value === "number") {
      return joined(varint(number * 8), varint(value));
    }
    if (typeof value !== "string" && "fixed32" in value) {
      return joined(varint(number * 8 + 5), uint32(value.fixed32));
    }
    const bytes = typeof value === "string"
      ? new TextEncoder().encode(value)
      : value;
    return joined(varint(number * 8 + 2), varint(bytes.length), bytes);
  }));
}

/** What the index says about a tensor; anything but the data can be wrong. */
export interface EntryOptions {
  readonly type?: number;
  readonly dims?: readonly number[];
  readonly shard?: number;
  readonly offset?: number;
  readonly size?: number;
  readonly crc?: number;
  /** Per slice, `[start, length]` of each dimension; no length for all of it. */
  readonly slices?: readonly (readonly (readonly [number, number?])[])[];
}

/** A `BundleEntryProto`. */
export function bundleEntry(
  {
    type = 1,
    dims = [],
    shard = 0,
    offset = 0,
    size = 0,
    crc = 0,
    slices = [],
  }: EntryOptions,
): Uint8Array<ArrayBuffer> {
  const shape = message(
    ...dims.map((extent) => [2, message([1, extent])] as const),
  );
  return message(
    [1, type],
    [2, shape],
    [3, shard],
    [4, offset],
    [5, size],
    [6, { fixed32: crc }],
    ...slices.map((extents) =>
      [
        7,
        message(
          ...extents.map(([start, length]) =>
            [
              1,
              length === undefined
                ? message([1, start])
                : message([1, start], [2, length]),
            ] as const
          ),
        ),
      ] as const
    ),
  );
}

/** A tensor of a bundle: its data, and what is wrong about it. */
export interface TensorOptions extends EntryOptions {
  readonly data?: Uint8Array;
}

/** The data of a tensor that is one string, with the checksum of its entry. */
export function stringTensor(text: Uint8Array): TensorOptions {
  const lengths = crc32c(Uint8Array.from(uint32(text.length)));
  const stored = Uint8Array.from(uint32(maskedCrc(lengths)));
  return {
    type: 7,
    data: joined(varint(text.length), stored, text),
    crc: maskedCrc(crc32c(text, crc32c(stored, lengths))),
  };
}

/** The data of a vector of float32. */
export function floats(...values: number[]): TensorOptions {
  return {
    type: 1,
    dims: [values.length],
    data: new Uint8Array(Float32Array.from(values).buffer),
  };
}

/** The two files of a bundle by name, all tensors in one shard. */
export function bundle(
  tensors: Readonly<Record<string, TensorOptions>>,
  header: Uint8Array = message([1, 1], [3, message([1, 1])]),
  prefix = "ckpt",
): Map<string, Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let at = 0;
  const entries: (readonly [string, Uint8Array])[] = [["", header]];
  for (const key of Object.keys(tensors).sort()) {
    const { data, ...options } = tensors[key]!;
    const own = data
      ? { offset: at, size: data.length, crc: maskedCrc(crc32c(data)) }
      : {};
    entries.push([key, bundleEntry({ ...own, ...options })]);
    if (!data) continue;
    parts.push(data);
    at += data.length;
  }
  return new Map([
    [`${prefix}.index`, table(entries)],
    [`${prefix}.data-00000-of-00001`, joined(...parts)],
  ]);
}

/** An object of a graph: its children, and for a variable its name and key. */
export interface GraphObject {
  readonly children?: readonly (readonly [string, number])[];
  readonly variable?: readonly [fullName: string, key: string];
  readonly hasSlots?: boolean;
}

/** A `TrackableObjectGraph`. */
export function objectGraph(
  objects: readonly GraphObject[],
): Uint8Array<ArrayBuffer> {
  return joinBytes(
    objects.map(({ children = [], variable, hasSlots }) =>
      message([
        1,
        message(
          ...children.map(([name, id]) =>
            [1, message([1, id], [2, name])] as const
          ),
          ...(variable
            ? [
              [
                2,
                message([1, "VARIABLE_VALUE"], [2, variable[0]], [
                  3,
                  variable[1],
                ]),
              ] as const,
            ]
            : []),
          ...(hasSlots ? [[3, message([2, "momentum"])] as const] : []),
        ),
      ])
    ),
  );
}

/** A file in memory that remembers which bytes were read. */
export class WatchedFile implements SourceFile {
  readonly reads: [offset: number, length: number][] = [];
  readonly #file: BytesFile;

  constructor(name: string, bytes: Uint8Array) {
    this.#file = new BytesFile(name, bytes);
  }

  get name(): string {
    return this.#file.name;
  }

  get size(): number {
    return this.#file.size;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    this.reads.push([offset, length]);
    return this.#file.read(offset, length);
  }
}
