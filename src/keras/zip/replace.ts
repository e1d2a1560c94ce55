/**
 * Zip archives with other content in some members, and everything else as it
 * was: the other members' bytes, all names, dates and extra fields, and the
 * order.
 *
 * @module
 */

import { joinBytes } from "../../bytes.ts";
import { crc32 } from "../../crc32.ts";
import { FormatError, UnsupportedError } from "../../errors.ts";
import { BytesFile } from "../files/source_file.ts";
import { readDirectory, readEnd, type ZipMember } from "./directory.ts";

const LOCAL_HEADER = 30;
const ENTRY = 46;
const STORED = 0;
const EXTRA64 = 1;
const FULL32 = 0xffffffff;
/** The flag of members whose sizes stand behind them. */
const HAS_DESCRIPTOR = 8;
const DESCRIPTOR_SIGNATURE = 0x08074b50;
const END_SIGNATURE = 0x06054b50;
const END64_SIGNATURE = 0x06064b50;
const LOCATOR64_SIGNATURE = 0x07064b50;
const END64 = 56;
const LOCATOR64 = 20;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Deflates with what every runtime has, so that fflate stays in `zip.ts`. */
async function deflate(data: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([data.slice()]).stream()
    .pipeThrough(new CompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A member's new content. */
interface NewData {
  readonly crc32: number;
  readonly expandedSize: number;
  /** As it is in the archive. */
  readonly stored: Uint8Array;
}

async function encode(
  { method }: ZipMember,
  data: Uint8Array,
): Promise<NewData> {
  return {
    crc32: crc32(data),
    expandedSize: data.length,
    stored: method === STORED ? data : await deflate(data),
  };
}

/** Where a header or an entry has its fields. */
interface Fields {
  readonly crc32: number;
  readonly size: number;
  readonly expandedSize: number;
  readonly extra: number;
  readonly extraLength: number;
}

function fieldsOf(view: DataView, isEntry: boolean): Fields {
  const shift = isEntry ? 2 : 0;
  const names = view.getUint16(26 + shift, true);
  return {
    crc32: 14 + shift,
    size: 18 + shift,
    expandedSize: 22 + shift,
    extra: (isEntry ? ENTRY : LOCAL_HEADER) + names,
    extraLength: view.getUint16(28 + shift, true),
  };
}

/** Where the wide numbers of an extra field are; undefined without any. */
function wideOffset(
  view: DataView,
  { extra, extraLength }: Fields,
): number | undefined {
  const end = extra + extraLength;
  for (let at = extra; at + 4 <= end;) {
    if (view.getUint16(at, true) === EXTRA64) return at + 4;
    at += 4 + view.getUint16(at + 2, true);
  }
  return undefined;
}

/** Changes numbers, each in its field or, where that is full, among the wide ones. */
function patchNumbers(
  bytes: Uint8Array,
  isEntry: boolean,
  changes:
    readonly (readonly [field: number, change: (old: number) => number])[],
): void {
  const view = viewOf(bytes);
  let wide = wideOffset(view, fieldsOf(view, isEntry));
  // In this order the wide numbers stand.
  for (const [field, change] of changes) {
    const value = view.getUint32(field, true);
    if (value === FULL32 && wide !== undefined) {
      const next = change(Number(view.getBigUint64(wide, true)));
      view.setBigUint64(wide, BigInt(next), true);
      wide += 8;
      continue;
    }
    const next = change(value);
    if (next >= FULL32) {
      throw new UnsupportedError(
        "Cannot write the zip archive: it would be 4 GiB or more, and its directory has no room for that",
      );
    }
    view.setUint32(field, next, true);
  }
}

const same = (value: number): number => value;

/** A header or an entry with a member's new sizes. */
function withSizes(
  bytes: Uint8Array,
  isEntry: boolean,
  data: NewData | undefined,
  shift: number,
): Uint8Array {
  const copy = bytes.slice();
  const view = viewOf(copy);
  const fields = fieldsOf(view, isEntry);
  if (data) view.setUint32(fields.crc32, data.crc32, true);
  patchNumbers(copy, isEntry, [
    [fields.expandedSize, data ? () => data.expandedSize : same],
    [fields.size, data ? () => data.stored.length : same],
    ...(isEntry ? [[42, (old: number) => old + shift] as const] : []),
  ]);
  return copy;
}

/** What stands behind a member's bytes, with its new sizes. */
function withDescriptor(gap: Uint8Array, data: NewData): Uint8Array {
  const copy = gap.slice();
  const view = viewOf(copy);
  const hasSignature = copy.length >= 4 &&
    view.getUint32(0, true) === DESCRIPTOR_SIGNATURE;
  const at = hasSignature ? 4 : 0;
  const left = copy.length - at;
  if (left !== 12 && left !== 20) {
    throw new FormatError(
      "Cannot write the zip archive: expected a member's sizes behind it",
    );
  }
  view.setUint32(at, data.crc32, true);
  if (left === 12) {
    view.setUint32(at + 4, data.stored.length, true);
    view.setUint32(at + 8, data.expandedSize, true);
  } else {
    view.setBigUint64(at + 4, BigInt(data.stored.length), true);
    view.setBigUint64(at + 12, BigInt(data.expandedSize), true);
  }
  return copy;
}

/** A replaced member: its header, content and what is behind it. */
function rewritten(
  region: Uint8Array,
  { flags, size }: ZipMember,
  data: NewData,
): Uint8Array[] {
  const view = viewOf(region);
  const start = LOCAL_HEADER + view.getUint16(26, true) +
    view.getUint16(28, true);
  const header = region.slice(0, start);
  const gap = region.subarray(start + size);
  // With a descriptor, the header has zeros.
  return flags & HAS_DESCRIPTOR
    ? [header, data.stored, withDescriptor(gap, data)]
    : [withSizes(header, false, data, 0), data.stored, gap];
}

/** The records at the end, with a directory that has moved. */
function movedEnd(bytes: Uint8Array, shift: number): Uint8Array {
  const copy = bytes.slice();
  const view = viewOf(copy);
  const wide = (at: number) =>
    view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(shift), true);
  let at = 0;
  if (view.getUint32(at, true) === END64_SIGNATURE) {
    wide(at + 48);
    at += END64;
    if (view.getUint32(at, true) === LOCATOR64_SIGNATURE) wide(at + 8);
    at += LOCATOR64;
  }
  if (view.getUint32(at, true) !== END_SIGNATURE) {
    throw new FormatError(
      "Cannot write the zip archive: there is something between its directory and its end",
    );
  }
  const offset = view.getUint32(at + 16, true);
  if (offset !== FULL32) view.setUint32(at + 16, offset + shift, true);
  return copy;
}

/** The offset of the local header that an entry of the directory names. */
function localOffset(entry: Uint8Array): number {
  const view = viewOf(entry);
  const offset = view.getUint32(42, true);
  if (offset !== FULL32) return offset;
  let at = wideOffset(view, fieldsOf(view, true))!;
  for (const field of [24, 20]) {
    if (view.getUint32(field, true) === FULL32) at += 8;
  }
  return Number(view.getBigUint64(at, true));
}

/**
 * Replaces the content of members.
 *
 * @param bytes The archive; not changed.
 * @param replacements The new contents by member; each is stored or deflated
 * as the old one was.
 * @returns The new archive.
 *
 * @throws {FormatError} If the archive is damaged, or has no such member.
 * @throws {UnsupportedError} If its directory has no room for the new sizes.
 */
export async function replaceMembers(
  bytes: Uint8Array,
  replacements: ReadonlyMap<string, Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = new BytesFile("the zip archive", bytes);
  const members = await readDirectory(file);
  const { directoryOffset, directorySize } = await readEnd(file);
  const newData = new Map<number, { member: ZipMember; data: NewData }>();
  for (const [name, data] of replacements) {
    const member = members.get(name);
    if (!member) {
      throw new FormatError(
        `Cannot write ${name} in the zip archive: it has no such member`,
      );
    }
    newData.set(member.offset, { member, data: await encode(member, data) });
  }
  const entries: Uint8Array[] = [];
  for (let at = directoryOffset; at < directoryOffset + directorySize;) {
    const view = viewOf(bytes.subarray(at));
    const length = ENTRY + view.getUint16(28, true) +
      view.getUint16(30, true) + view.getUint16(32, true);
    entries.push(bytes.subarray(at, at + length));
    at += length;
  }
  const offsets = entries.map(localOffset).sort((a, b) => a - b);
  const shifts = new Map<number, number>();
  const parts = [bytes.subarray(0, offsets[0] ?? directoryOffset)];
  let shift = 0;
  offsets.forEach((offset, i) => {
    shifts.set(offset, shift);
    const region = bytes.subarray(offset, offsets[i + 1] ?? directoryOffset);
    const replaced = newData.get(offset);
    if (!replaced) {
      parts.push(region);
      return;
    }
    parts.push(...rewritten(region, replaced.member, replaced.data));
    shift += replaced.data.stored.length - replaced.member.size;
  });
  for (const entry of entries) {
    const offset = localOffset(entry);
    parts.push(
      withSizes(entry, true, newData.get(offset)?.data, shifts.get(offset)!),
    );
  }
  parts.push(movedEnd(bytes.subarray(directoryOffset + directorySize), shift));
  return joinBytes(parts);
}
