/**
 * safetensors: a JSON header with each tensor's type, shape and place, and the
 * tensors' little-endian bytes.
 *
 * Format: https://huggingface.co/docs/safetensors
 *
 * What the reference implementation refuses is refused here: a header that is
 * longer than the file or than 100 MB, tensors that overlap, leave holes or do
 * not end with the file, or whose bytes are not those of their shape. Only
 * types that it does not know either are let be, unless they are needed: a
 * file of a newer library with a few quantized tensors is readable otherwise.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { isObject } from "../../layer/keras_object.ts";
import type { Tensor } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import {
  checkUniqueKeys,
  type JsonObject,
  parseJsonObject,
} from "../files/json.ts";
import { fromLittleEndian, rawType } from "../files/raw_tensor.ts";
import { newBytes, type SourceFile } from "../files/source_file.ts";

/** The bytes in front of the header: its length. */
const LENGTH_BYTES = 8;
/** The reference's limit. */
const MAX_HEADER = 100_000_000;

/** Each type with numpy's name for it and the bits of an element. */
const TYPES: Readonly<Record<string, readonly [name: string, bits: number]>> = {
  BOOL: ["bool", 8],
  F4: ["float4_e2m1fn", 4],
  F6_E2M3: ["float6_e2m3fn", 6],
  F6_E3M2: ["float6_e3m2fn", 6],
  U8: ["uint8", 8],
  I8: ["int8", 8],
  F8_E5M2: ["float8_e5m2", 8],
  F8_E4M3: ["float8_e4m3fn", 8],
  F8_E8M0: ["float8_e8m0fnu", 8],
  F8_E5M2FNUZ: ["float8_e5m2fnuz", 8],
  F8_E4M3FNUZ: ["float8_e4m3fnuz", 8],
  I16: ["int16", 16],
  U16: ["uint16", 16],
  F16: ["float16", 16],
  BF16: ["bfloat16", 16],
  I32: ["int32", 32],
  U32: ["uint32", 32],
  F32: ["float32", 32],
  C64: ["complex64", 64],
  F64: ["float64", 64],
  I64: ["int64", 64],
  U64: ["uint64", 64],
};

const METADATA = "__metadata__";

/** One tensor as the header describes it. */
interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly dims: readonly number[];
  /** Where its bytes are, counted from behind the header. */
  readonly start: number;
  readonly end: number;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function refuse(what: string, reason: string): never {
  throw new FormatError(`Cannot read ${what}: ${reason}`);
}

function entryOf(name: string, value: unknown, file: string): Entry {
  const { dtype, shape, data_offsets } = isObject(value)
    ? value
    : {} as JsonObject;
  if (
    typeof dtype !== "string" || !Array.isArray(shape) ||
    !shape.every(isCount) || !Array.isArray(data_offsets) ||
    data_offsets.length !== 2 || !data_offsets.every(isCount)
  ) {
    return refuse(
      `${name} of ${file}`,
      "expected dtype, shape and two data_offsets in the header",
    );
  }
  const [start, end] = data_offsets as [number, number];
  return { name, dtype, dims: shape, start, end };
}

/** Checks that the tensors fill the file, without holes and without sharing bytes. */
function checkPlaces(
  entries: readonly Entry[],
  dataBytes: number,
  file: string,
): void {
  let at = 0;
  const inOrder = [...entries]
    .sort((a, b) => a.start - b.start || a.end - b.end);
  for (const { name, dtype, dims, start, end } of inOrder) {
    const what = `${name} of ${file}`;
    if (start !== at || end < start) {
      const problem = start < at ? "it overlaps another" : "there is a hole";
      refuse(
        what,
        `expected its bytes to begin at ${at}, got ${start} to ${end}; ${problem}`,
      );
    }
    const bits = Object.hasOwn(TYPES, dtype) ? TYPES[dtype]![1] : undefined;
    const expected = bits === undefined
      ? end - start
      : dims.reduce((product, extent) => product * extent, 1) * bits / 8;
    if (expected !== end - start) {
      refuse(
        what,
        `expected ${expected} bytes for ${dtype} of shape [${
          dims.join(", ")
        }], got ${end - start}`,
      );
    }
    at = end;
  }
  if (at !== dataBytes) {
    refuse(
      file,
      `expected ${at} bytes of tensors behind the header, got ${dataBytes}`,
    );
  }
}

/** Metadata is text only; the reference refuses anything else. */
function textsOf(metadata: unknown, file: string): Map<string, string> {
  const entries = Object.entries(metadata ?? {});
  const isText = (entry: [string, unknown]): entry is [string, string] =>
    typeof entry[1] === "string";
  return isObject(metadata ?? {}) && entries.every(isText)
    ? new Map(entries)
    : refuse(file, `expected ${METADATA} to hold text only`);
}

/**
 * The length of the header, as the first eight bytes tell it; undefined if
 * they cannot be those of safetensors.
 *
 * @param head The first bytes of a file.
 * @param size The length of the file.
 */
export function headerLength(
  head: Uint8Array,
  size: number,
): number | undefined {
  if (head.length <= LENGTH_BYTES || head[LENGTH_BYTES] !== 0x7b) {
    return undefined;
  }
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const length = view.getBigUint64(0, true);
  return length <= BigInt(Math.min(MAX_HEADER, size - LENGTH_BYTES))
    ? Number(length)
    : undefined;
}

async function readHeader(
  file: SourceFile,
  length: number,
): Promise<JsonObject> {
  const bytes = await file.read(LENGTH_BYTES, length);
  const what = `the header of ${file.name}`;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes);
  } catch (cause) {
    throw new FormatError(`Cannot read ${what}: expected UTF-8`, { cause });
  }
  const header = parseJsonObject(text, what);
  checkUniqueKeys(text, what);
  return header;
}

function variableOf(
  file: SourceFile,
  dataOffset: number,
  { name, dtype, dims, start, end }: Entry,
): FileVariable {
  const type = Object.hasOwn(TYPES, dtype) ? TYPES[dtype]![0] : dtype;
  return {
    name,
    location: name,
    type,
    dims,
    async read(): Promise<Tensor> {
      const raw = rawType(type);
      if (!raw) {
        return refuse(
          `${name} of ${file.name}`,
          `expected float elements, found ${dtype}`,
        );
      }
      const part = await file.read(dataOffset + start, end - start);
      const bytes = newBytes(file.name, part.length);
      bytes.set(part);
      return {
        type: raw.type,
        dims: [...dims],
        data: fromLittleEndian(raw, bytes),
      };
    },
  };
}

/** What a safetensors file holds. */
export interface Safetensors {
  /** The tensors, by where they are in the file. */
  readonly variables: readonly FileVariable[];
  /** What its writer says about it. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads the header of a safetensors file.
 *
 * @throws {FormatError} If the header is damaged, or the tensors are not where
 * it says.
 */
export async function readSafetensors(
  file: SourceFile,
): Promise<Safetensors> {
  const head = await file.read(0, Math.min(file.size, LENGTH_BYTES + 1));
  const length = headerLength(head, file.size);
  if (length === undefined) {
    return refuse(
      file.name,
      "expected the length of a JSON header that fits into the file",
    );
  }
  const { [METADATA]: metadata, ...tensors } = await readHeader(file, length);
  const texts = textsOf(metadata, file.name);
  const entries = Object.entries(tensors)
    .map(([name, value]) => entryOf(name, value, file.name));
  const dataOffset = LENGTH_BYTES + length;
  checkPlaces(entries, file.size - dataOffset, file.name);
  return {
    variables: entries.sort((a, b) => a.start - b.start)
      .map((entry) => variableOf(file, dataOffset, entry)),
    metadata: texts,
  };
}
