/**
 * Zip archives: the names of their members, and single members when they are
 * needed; and new ones. This is the only file that knows fflate, which expands them.
 *
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 *
 * @module
 */

import { crc32 } from "../../crc32.ts";
import { FormatError } from "../../errors.ts";
import { BytesFile, PartFile, type SourceFile } from "../files/source_file.ts";
import { readDirectory, type ZipMember } from "./directory.ts";

/** An archive that is in memory. */
export interface ZipArchive {
  /** The names of the members, in the archive's order. */
  readonly names: readonly string[];
  /**
   * Expands one member.
   *
   * @throws {FormatError} If there is none of that name, or it is damaged,
   * truncated, encrypted or declares more than can be in it.
   */
  read(name: string): Uint8Array;
}

/** An archive of which only what is needed is read. */
export interface ZipFile {
  /** The names of the members, in the archive's order. */
  readonly names: readonly string[];
  /** The bytes of a member when it is expanded, as it declares. */
  sizeOf(name: string): number;
  /**
   * Expands the beginning of a member, without a check of the rest.
   *
   * @returns At most `length` bytes; fewer, if the member is shorter or what
   * is looked at does not expand to so many.
   *
   * @throws {FormatError} As for `read`, as far as it is noticed.
   */
  head(name: string, length: number): Promise<Uint8Array>;
  /** Expands one member; see {@linkcode ZipArchive.read}. */
  read(name: string): Promise<Uint8Array>;
  /**
   * A member as a file of its own. One of more than 1 MiB that is not
   * compressed is read where it is, as far as it is read: its checksum, which
   * is that of all of it, is then not looked at. Others are read at once.
   *
   * @throws {FormatError} As for `read`.
   */
  open(name: string): Promise<SourceFile>;
}

/** The part of fflate that is used, in fflate's own names. */
interface Fflate {
  inflateSync(data: Uint8Array, options: { out: Uint8Array }): Uint8Array;
  zipSync(
    members: Record<string, Uint8Array>,
    options: { level: 0; mtime: Date },
  ): Uint8Array;
  Inflate: new (
    ondata: (data: Uint8Array, final: boolean) => void,
  ) => { push(data: Uint8Array, final: boolean): void };
}

/** Deflate makes at most this many bytes out of one. */
const MAX_EXPANSION = 1032;

/**
 * What the members that are read may expand to together: weights hardly
 * compress, configurations do by a factor of ten or so, and a second is enough
 * for the first part.
 */
const FREE_BYTES = 2 ** 26;
const USUAL_EXPANSION = 100;

/** As much is read, and its checksum computed, whatever of it is needed: some milliseconds. */
const CHECKED_BYTES = 2 ** 20;

const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED = 1;

const LOCAL_HEADER = 30;
const LOCAL_SIGNATURE = 0x04034b50;

/** Not written into the import itself, which Deno would fetch at once. */
const PACKAGE = "npm:fflate@0.8.3";

let loading: Promise<Fflate> | undefined;

async function load(): Promise<Fflate> {
  // A failed import is forgotten, so that the next call tries again.
  loading ??= import(PACKAGE).catch((cause) => {
    loading = undefined;
    throw cause;
  });
  return await loading;
}

function refuse(name: string, reason: string, options?: ErrorOptions): never {
  throw new FormatError(
    `Cannot read ${name} in the zip archive: ${reason}`,
    options,
  );
}

/** Checks what a member declares, before anything is allocated for it. */
function checkMember(member: ZipMember, archiveBytes: number): void {
  const { name, size, expandedSize, method, flags } = member;
  if (flags & ENCRYPTED) refuse(name, "it is encrypted");
  const isPossible = method === STORED
    ? expandedSize === size
    : method === DEFLATED && expandedSize <= MAX_EXPANSION * size;
  if (!isPossible || size > archiveBytes) {
    refuse(
      name,
      `it declares ${expandedSize} bytes, stored in ${size} with method ${method}`,
    );
  }
}

/** How far an archive's members have been expanded. */
class Budget {
  readonly #most: number;
  /** Members that were expanded, each of which counts once. */
  readonly #seen = new Set<string>();
  #total = 0;

  constructor(archiveBytes: number) {
    this.#most = FREE_BYTES + USUAL_EXPANSION * archiveBytes;
  }

  /**
   * Counts a member, before anything is allocated for it.
   *
   * @throws {FormatError} If it would be too much.
   */
  spend({ name, method, expandedSize }: ZipMember): void {
    if (method === STORED || this.#seen.has(name)) return;
    this.#seen.add(name);
    this.#total += expandedSize;
    if (this.#total <= this.#most) return;
    refuse(
      name,
      `with it, ${this.#total} bytes would come out of the archive, more than any that holds weights; unpack it yourself if you trust it`,
    );
  }
}

/** Where a member's bytes begin; its own header tells how long that is. */
function dataOffset(member: ZipMember, header: Uint8Array): number {
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  if (
    header.length < LOCAL_HEADER || view.getUint32(0, true) !== LOCAL_SIGNATURE
  ) {
    refuse(member.name, "it is not where the archive's directory says");
  }
  const names = view.getUint16(26, true) + view.getUint16(28, true);
  return member.offset + LOCAL_HEADER + names;
}

/** The bytes of a member, out of those that are stored. */
function expand(
  fflate: Fflate,
  member: ZipMember,
  stored: Uint8Array,
): Uint8Array {
  const { name, method, expandedSize } = member;
  const data = method === STORED || stored.length === 0
    ? stored
    : inflate(fflate, member, stored);
  if (data.length !== expandedSize) {
    refuse(
      name,
      `expected ${expandedSize} bytes, got ${
        data.length > expandedSize ? "more" : data.length
      }, it is damaged or truncated`,
    );
  }
  const checksum = crc32(data);
  if (checksum !== member.crc32) {
    const hex = (value: number) => value.toString(16).padStart(8, "0");
    refuse(
      name,
      `expected the checksum ${hex(member.crc32)}, got ${
        hex(checksum)
      }, it is damaged`,
    );
  }
  return data;
}

function inflate(
  fflate: Fflate,
  { name, expandedSize }: ZipMember,
  stored: Uint8Array,
): Uint8Array {
  let out: Uint8Array;
  try {
    // One more, to notice what is longer than it declares. What does not fit
    // is dropped.
    out = new Uint8Array(expandedSize + 1);
    return fflate.inflateSync(stored, { out });
  } catch (cause) {
    return refuse(name, "it is damaged or truncated", { cause });
  }
}

/** How many stored bytes are looked at for a member's beginning; they can become 1 MB. */
const HEAD_BYTES = 1024;

function inflateHead(
  fflate: Fflate,
  { name }: ZipMember,
  stored: Uint8Array,
  length: number,
): Uint8Array {
  const head = new Uint8Array(length);
  let filled = 0;
  const stream = new fflate.Inflate((data) => {
    const taken = data.subarray(0, length - filled);
    head.set(taken, filled);
    filled += taken.length;
  });
  try {
    stream.push(stored, false);
  } catch (cause) {
    refuse(name, "it is damaged or truncated", { cause });
  }
  return head.subarray(0, filled);
}

function memberOf(
  members: ReadonlyMap<string, ZipMember>,
  name: string,
  archiveBytes: number,
): ZipMember {
  const member = members.get(name);
  if (!member) {
    return refuse(
      name,
      `it has ${[...members.keys()].slice(0, 8).join(", ") || "no members"}`,
    );
  }
  checkMember(member, archiveBytes);
  return member;
}

/**
 * Opens an archive that is in memory; the first call loads fflate.
 *
 * @throws {FormatError} If its directory is damaged or truncated, has a name
 * twice or one that leaves the archive, or members that overlap.
 */
export async function openZip(bytes: Uint8Array): Promise<ZipArchive> {
  const fflate = await load();
  const members = await readDirectory(new BytesFile("the archive", bytes));
  const budget = new Budget(bytes.length);
  return {
    names: [...members.keys()],
    read(name) {
      const member = memberOf(members, name, bytes.length);
      budget.spend(member);
      const header = bytes.subarray(
        member.offset,
        member.offset + LOCAL_HEADER,
      );
      const start = dataOffset(member, header);
      const stored = bytes.subarray(start, start + member.size);
      if (stored.length < member.size) refuse(name, "it is truncated");
      return expand(fflate, member, stored);
    },
  };
}

/**
 * Opens an archive of which parts can be read; the first call loads fflate.
 *
 * @throws {FormatError} As {@linkcode openZip}.
 */
export async function openZipFile(file: SourceFile): Promise<ZipFile> {
  const fflate = await load();
  const members = await readDirectory(file);
  const budget = new Budget(file.size);
  const start = async (member: ZipMember): Promise<number> =>
    dataOffset(member, await file.read(member.offset, LOCAL_HEADER));
  const read = async (name: string): Promise<Uint8Array> => {
    const member = memberOf(members, name, file.size);
    budget.spend(member);
    const stored = await file.read(await start(member), member.size);
    return expand(fflate, member, stored);
  };
  return {
    names: [...members.keys()],
    sizeOf: (name) => memberOf(members, name, file.size).expandedSize,
    async head(name, length) {
      const member = memberOf(members, name, file.size);
      const isStored = member.method === STORED;
      const wanted = Math.min(member.size, isStored ? length : HEAD_BYTES);
      const stored = await file.read(await start(member), wanted);
      return isStored || wanted === 0
        ? stored
        : inflateHead(fflate, member, stored, length);
    },
    read,
    async open(name) {
      const member = memberOf(members, name, file.size);
      return member.method === STORED && member.size > CHECKED_BYTES
        ? new PartFile(name, file, await start(member), member.size)
        : new BytesFile(name, await read(name));
    },
  };
}

/** The first moment that the format has, so that the same members give the same bytes. */
const TIME = new Date(1980, 0, 1);

/**
 * An archive of some members, stored as they are: float weights hardly
 * compress.
 *
 * @param members The members by name.
 */
export async function writeZip(
  members: ReadonlyMap<string, Uint8Array>,
): Promise<Uint8Array> {
  const { zipSync } = await load();
  return zipSync(Object.fromEntries(members), { level: 0, mtime: TIME });
}
