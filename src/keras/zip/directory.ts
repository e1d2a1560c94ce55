/**
 * The directory at the end of a zip archive, zip64 included, checked.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { SourceFile } from "../files/source_file.ts";

/** A member as the directory describes it. */
export interface ZipMember {
  /** Its name, with `/` between the parts and none in front. */
  readonly name: string;
  /** Bit 0: it is encrypted. */
  readonly flags: number;
  /** How it is stored: 0 as it is, 8 deflated. */
  readonly method: number;
  readonly crc32: number;
  /** The bytes that it takes in the archive, without its header. */
  readonly size: number;
  /** The bytes that it declares to expand to. */
  readonly expandedSize: number;
  /** Where its own header is. */
  readonly offset: number;
}

const END = 22;
const END_SIGNATURE = 0x06054b50;
const MAX_COMMENT = 0xffff;
const END64 = 56;
const END64_SIGNATURE = 0x06064b50;
const LOCATOR64 = 20;
const LOCATOR64_SIGNATURE = 0x07064b50;
const ENTRY = 46;
const ENTRY_SIGNATURE = 0x02014b50;
const EXTRA64 = 1;
/** What stands where a number has not enough bits. */
const FULL16 = 0xffff;
const FULL32 = 0xffffffff;
const UTF8 = 0x800;
const LOCAL_HEADER = 30;

function damaged(cause?: unknown): FormatError {
  return new FormatError(
    "Cannot read the zip archive: it is damaged or truncated",
    { cause },
  );
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A 64-bit number; the ones that no file has are Infinity. */
function uint64(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset, true);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
}

/** A part of the file; damaged, if it is not within. */
async function part(
  file: SourceFile,
  offset: number,
  length: number,
): Promise<DataView> {
  if (!(offset >= 0 && length >= 0 && offset + length <= file.size)) {
    throw damaged();
  }
  return viewOf(await file.read(offset, length));
}

/** The record at the end of an archive. */
export interface End {
  /** Where it is in the file. */
  readonly offset: number;
  readonly count: number;
  readonly directoryOffset: number;
  readonly directorySize: number;
}

/** Where the record at the end begins: a comment of any length is behind it. */
async function findEnd(file: SourceFile): Promise<number> {
  // Without a comment first, which is how they are.
  for (const length of [END, END + MAX_COMMENT]) {
    const start = Math.max(0, file.size - length);
    const view = await part(file, start, file.size - start);
    for (let at = view.byteLength - END; at >= 0; at--) {
      if (
        view.getUint32(at, true) === END_SIGNATURE &&
        at + END + view.getUint16(at + 20, true) <= view.byteLength
      ) return start + at;
    }
  }
  throw damaged();
}

/**
 * Reads the record at the end of an archive.
 *
 * @throws {FormatError} If there is none, or it is damaged.
 */
export async function readEnd(file: SourceFile): Promise<End> {
  const offset = await findEnd(file);
  const view = await part(file, offset, END);
  const disks = [view.getUint16(4, true), view.getUint16(6, true)];
  const end: End = {
    offset,
    count: view.getUint16(10, true),
    directorySize: view.getUint32(12, true),
    directoryOffset: view.getUint32(16, true),
  };
  const isFull = end.count === FULL16 || end.directorySize === FULL32 ||
    end.directoryOffset === FULL32;
  const end64 = isFull ? await readEnd64(file, offset) : undefined;
  if (!end64 && disks.some((disk) => disk !== 0)) {
    throw new FormatError(
      "Cannot read the zip archive: it is one of several parts, expected a whole one",
    );
  }
  if (end64) return end64;
  if (view.getUint16(8, true) !== end.count) throw damaged();
  return end;
}

/** The wider record that stands in front; undefined if there is none. */
async function readEnd64(
  file: SourceFile,
  end: number,
): Promise<End | undefined> {
  if (end < LOCATOR64) return undefined;
  const locator = await part(file, end - LOCATOR64, LOCATOR64);
  if (locator.getUint32(0, true) !== LOCATOR64_SIGNATURE) return undefined;
  const offset = uint64(locator, 8);
  const view = await part(file, offset, END64);
  if (view.getUint32(0, true) !== END64_SIGNATURE) throw damaged();
  return {
    offset,
    count: uint64(view, 32),
    directorySize: uint64(view, 40),
    directoryOffset: uint64(view, 48),
  };
}

/** `./a\b` and `/a/b` name the member `a/b`. */
function normalized(name: string): string {
  const parts = name.replaceAll("\\", "/").split("/")
    .filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) {
    throw new FormatError(
      `Cannot read the zip archive: its member ${
        JSON.stringify(name.slice(0, 80))
      } is outside of it`,
    );
  }
  return parts.join("/");
}

/** The numbers that do not fit into 32 bits, in the order in which they stand. */
function* wideNumbers(extra: DataView): Generator<number> {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const id = extra.getUint16(at, true);
    const length = extra.getUint16(at + 2, true);
    const start = at + 4;
    const end = start + length;
    if (end > extra.byteLength) return;
    if (id === EXTRA64) {
      for (let each = start; each + 8 <= end; each += 8) {
        yield uint64(extra, each);
      }
      return;
    }
    at = end;
  }
}

interface Entry {
  readonly member: ZipMember;
  readonly isFolder: boolean;
  /** The bytes that it takes in the directory. */
  readonly length: number;
}

function readEntry(directory: DataView, at: number): Entry {
  if (
    at + ENTRY > directory.byteLength ||
    directory.getUint32(at, true) !== ENTRY_SIGNATURE
  ) throw damaged();
  const nameLength = directory.getUint16(at + 28, true);
  const extraLength = directory.getUint16(at + 30, true);
  const commentLength = directory.getUint16(at + 32, true);
  const length = ENTRY + nameLength + extraLength + commentLength;
  if (at + length > directory.byteLength) throw damaged();
  const start = directory.byteOffset + at + ENTRY;
  const flags = directory.getUint16(at + 8, true);
  const name = new TextDecoder(flags & UTF8 ? "utf-8" : "latin1")
    .decode(new Uint8Array(directory.buffer, start, nameLength));
  const wide = wideNumbers(
    new DataView(directory.buffer, start + nameLength, extraLength),
  );
  const number = (offset: number): number => {
    const value = directory.getUint32(at + offset, true);
    if (value !== FULL32) return value;
    const { value: wider, done } = wide.next();
    return done ? value : wider;
  };
  // In this order, which is that of the wide numbers.
  const expandedSize = number(24);
  const size = number(20);
  const offset = number(42);
  return {
    member: {
      name: normalized(name),
      flags,
      method: directory.getUint16(at + 10, true),
      crc32: directory.getUint32(at + 16, true),
      size,
      expandedSize,
      offset,
    },
    isFolder: /[/\\]$/.test(name),
    length,
  };
}

/**
 * Refuses members that share bytes, with which a small archive could expand
 * to any size.
 */
function checkOverlaps(members: readonly ZipMember[]): void {
  const inOrder = [...members].sort((a, b) => a.offset - b.offset);
  inOrder.forEach(({ name, offset, size }, i) => {
    const next = inOrder[i + 1];
    if (next && offset + LOCAL_HEADER + size > next.offset) {
      throw new FormatError(
        `Cannot read the zip archive: its members ${name} and ${next.name} overlap`,
      );
    }
  });
}

/**
 * The members of an archive by name, in the directory's order; folders are
 * left out.
 *
 * @throws {FormatError} If the directory is damaged or truncated, has a name
 * twice or one that leaves the archive, or members that overlap.
 */
export async function readDirectory(
  file: SourceFile,
): Promise<Map<string, ZipMember>> {
  const end = await readEnd(file);
  if (end.count * ENTRY > end.directorySize) {
    throw new FormatError(
      "Cannot read the zip archive: it declares more members than fit into it",
    );
  }
  if (end.directoryOffset + end.directorySize > end.offset) throw damaged();
  const directory = await part(file, end.directoryOffset, end.directorySize);
  const members = new Map<string, ZipMember>();
  const all: ZipMember[] = [];
  let at = 0;
  for (let i = 0; i < end.count; i++) {
    const { member, isFolder, length } = readEntry(directory, at);
    at += length;
    all.push(member);
    if (isFolder) continue;
    if (members.has(member.name)) {
      throw new FormatError(
        `Cannot read the zip archive: it has ${member.name} twice`,
      );
    }
    members.set(member.name, member);
  }
  checkOverlaps(all);
  return members;
}
