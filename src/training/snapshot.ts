/**
 * How saved states are laid out: a JSON header and tensors, as bytes or as
 * JSON, with a version and a checksum.
 *
 * Bytes, all numbers little-endian:
 *
 * | offset | what |
 * |---|---|
 * | 0 | `EVKSTATE` |
 * | 8 | the format version, uint32 |
 * | 12 | CRC-32 of all other bytes, uint32 |
 * | 16 | the length h of the header, uint32 |
 * | 20 | the header, JSON in UTF-8 |
 * | 20 + h | the tensors in the order of the header, without gaps |
 *
 * JSON holds the same with the tensors in base64; its checksum is that of the
 * UTF-8 text of everything else, with sorted keys and without spaces, so that
 * it survives databases that store JSON in their own way.
 *
 * @module
 */

import {
  isObject,
  type JsonObject,
  type JsonValue,
} from "../layer/keras_object.ts";
import type { Tensor } from "../tensor.ts";
import { joinBytes } from "../bytes.ts";
import { crc32 } from "../crc32.ts";
import {
  byteLength,
  bytesOf,
  describe,
  fromBase64,
  malformed,
  readDescription,
  tensorOf,
  toBase64,
} from "./tensor_bytes.ts";

/** What is saved. */
export interface Snapshot {
  /** Everything but numbers in bulk. */
  readonly header: JsonObject;
  /** The numbers in bulk. */
  readonly tensors: readonly Tensor[];
}

/** The version that is written; older ones are read too. */
export const FORMAT_VERSION = 1;

const FORMAT = "evenkeel-training-state";
const MAGIC = /* @__PURE__ */ Array.from(
  "EVKSTATE",
  (character) => character.charCodeAt(0),
);
const VERSION_AT = 8;
const CHECKSUM_AT = 12;
const LENGTH_AT = 16;
const HEADER_AT = 20;

/** More than configurations ever nest; keeps recursion off the stack's end. */
const MAX_DEPTH = 100;

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function checkVersion(version: unknown): void {
  if (version === FORMAT_VERSION) return;
  if (typeof version === "number" && version > FORMAT_VERSION) {
    throw malformed(
      `it has format version ${version}, and this release reads up to ${FORMAT_VERSION}; use a newer release of Evenkeel`,
    );
  }
  throw malformed(`it has no valid format version (${String(version)})`);
}

/** JSON with sorted keys. */
function canonicalText(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw malformed("it is nested too deeply");
  if (Array.isArray(value)) {
    return `[${value.map((v) => canonicalText(v, depth + 1)).join(",")}]`;
  }
  if (!isObject(value)) return JSON.stringify(value) ?? "null";
  const entries = Object.keys(value).sort().map((key) =>
    `${JSON.stringify(key)}:${canonicalText(value[key], depth + 1)}`
  );
  return `{${entries.join(",")}}`;
}

/** The header with the descriptions of the tensors, and nothing but JSON. */
function wholeHeader({ header, tensors }: Snapshot): JsonObject {
  const whole = { ...header, tensors: tensors.map(describe) };
  return JSON.parse(JSON.stringify(whole));
}

function checksumOfBytes(bytes: Uint8Array): number {
  return crc32(bytes.subarray(0, CHECKSUM_AT), bytes.subarray(LENGTH_AT));
}

/** Lays a snapshot out as bytes. */
export function encodeBytes(snapshot: Snapshot): Uint8Array {
  const header = new TextEncoder().encode(
    JSON.stringify(wholeHeader(snapshot)),
  );
  const start = new Uint8Array(HEADER_AT);
  const bytes = joinBytes([start, header, ...snapshot.tensors.map(bytesOf)]);
  const view = viewOf(bytes);
  bytes.set(MAGIC);
  view.setUint32(VERSION_AT, FORMAT_VERSION, true);
  view.setUint32(LENGTH_AT, header.length, true);
  view.setUint32(CHECKSUM_AT, checksumOfBytes(bytes), true);
  return bytes;
}

function readHeader(bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    );
  } catch (error) {
    throw malformed("its header is not JSON", error);
  }
  if (!isObject(header) || !Array.isArray(header.tensors)) {
    throw malformed("its header is not that of a training state");
  }
  canonicalText(header); // for its check of the depth
  return header;
}

/**
 * Reads what {@linkcode encodeBytes} wrote.
 *
 * @throws {FormatError} If it is anything else, damaged or newer.
 */
export function decodeBytes(bytes: Uint8Array): Snapshot {
  if (!(bytes instanceof Uint8Array) || bytes.length < HEADER_AT) {
    throw malformed("it is not a Uint8Array of 20 bytes or more");
  }
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw malformed("it does not begin with EVKSTATE");
  }
  const view = viewOf(bytes);
  checkVersion(view.getUint32(VERSION_AT, true));
  if (view.getUint32(CHECKSUM_AT, true) !== checksumOfBytes(bytes)) {
    throw malformed("it is damaged or cut, its checksum does not match");
  }
  const start = HEADER_AT + view.getUint32(LENGTH_AT, true);
  if (start > bytes.length) throw malformed("its header is cut");
  const { tensors, ...header } = readHeader(bytes.subarray(HEADER_AT, start));
  let offset = start;
  const found = (tensors as unknown[]).map((value) => {
    const description = readDescription(value);
    const length = byteLength(description);
    // Before anything is allocated for it.
    if (length > bytes.length - offset) throw malformed("its tensors are cut");
    offset += length;
    return tensorOf(description, bytes.subarray(offset - length, offset));
  });
  if (offset !== bytes.length) throw malformed("it is too long");
  return { header: header as JsonObject, tensors: found };
}

function checksumOfJson(json: Readonly<Record<string, unknown>>): string {
  const crc = crc32(new TextEncoder().encode(canonicalText(json)));
  return `crc32:${crc.toString(16).padStart(8, "0")}`;
}

/** Lays a snapshot out as JSON. */
export function encodeJson(snapshot: Snapshot): JsonObject {
  const { tensors, ...header } = wholeHeader(snapshot);
  const json: Record<string, JsonValue> = {
    format: FORMAT,
    version: FORMAT_VERSION,
    ...header,
    tensors: (tensors as JsonObject[]).map((description, i) => ({
      ...description,
      data: toBase64(bytesOf(snapshot.tensors[i]!)),
    })),
  };
  return { ...json, checksum: checksumOfJson(json) };
}

/**
 * Reads what {@linkcode encodeJson} wrote, or its text.
 *
 * @throws {FormatError} If it is anything else, damaged or newer.
 */
export function decodeJson(json: unknown): Snapshot {
  let whole = json;
  if (typeof json === "string") {
    try {
      whole = JSON.parse(json);
    } catch (error) {
      throw malformed("it is not JSON", error);
    }
  }
  if (!isObject(whole) || whole.format !== FORMAT) {
    throw malformed(`it is not an object with format "${FORMAT}"`);
  }
  const { checksum, ...rest } = whole;
  checkVersion(rest.version);
  if (checksum !== checksumOfJson(rest)) {
    throw malformed("it is damaged, its checksum does not match");
  }
  const { format: _format, version: _version, tensors, ...header } = rest;
  if (!Array.isArray(tensors)) throw malformed("it has no list of tensors");
  return {
    header: header as JsonObject,
    tensors: tensors.map((value: unknown) => {
      const description = readDescription(value);
      const { data } = value as Record<string, unknown>;
      const bytes = fromBase64(data, byteLength(description));
      return tensorOf(description, bytes);
    }),
  };
}
