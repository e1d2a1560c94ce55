/**
 * Zip archives in memory: the names of their members, and single members when
 * they are needed. This is the only file that knows fflate.
 *
 * @module
 */

import { FormatError } from "../errors.ts";

/** An archive. */
export interface ZipArchive {
  /** The names of the members, in the archive's order. */
  readonly names: readonly string[];
  /**
   * Expands one member.
   *
   * @throws {FormatError} If there is none of that name, or it is damaged,
   * truncated or declares more than can be in it.
   */
  read(name: string): Uint8Array;
}

/** The part of fflate that is used, in fflate's own names. */
interface ZipMember {
  readonly name: string;
  readonly size: number;
  readonly originalSize: number;
  readonly compression: number;
}
interface Fflate {
  unzipSync(
    data: Uint8Array,
    options: { filter: (member: ZipMember) => boolean },
  ): Record<string, Uint8Array>;
}

/** Deflate makes at most this many bytes out of one. */
const MAX_EXPANSION = 1032;
/** The least bytes that a member takes in the directory. */
const DIRECTORY_ENTRY = 46;
const STORED = 0;
const DEFLATED = 8;

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

function unzip(
  fflate: Fflate,
  bytes: Uint8Array,
  filter: (member: ZipMember) => boolean,
): Record<string, Uint8Array> {
  try {
    return fflate.unzipSync(bytes, { filter });
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    throw new FormatError(
      "Cannot read the zip archive: it is damaged or truncated",
      { cause },
    );
  }
}

/** `./a\b` and `/a/b` name the member `a/b`. */
function normalized(name: string): string {
  return name.replaceAll("\\", "/").split("/")
    .filter((part) => part !== "" && part !== ".").join("/");
}

function checkMember(member: ZipMember, archiveBytes: number): void {
  const { name, size, originalSize, compression } = member;
  const expected = compression === STORED
    ? originalSize === size
    : compression === DEFLATED && originalSize <= MAX_EXPANSION * size;
  if (!expected || size > archiveBytes) {
    throw new FormatError(
      `Cannot read ${name} in the zip archive: it declares ${originalSize} bytes, stored in ${size} with method ${compression}`,
    );
  }
}

/**
 * Opens an archive; the first call loads fflate.
 *
 * @throws {FormatError} If its directory is damaged or truncated.
 */
export async function openZip(bytes: Uint8Array): Promise<ZipArchive> {
  const fflate = await load();
  const members = new Map<string, ZipMember>();
  let left = Math.floor(bytes.length / DIRECTORY_ENTRY);
  unzip(fflate, bytes, (member) => {
    if (left-- === 0) {
      throw new FormatError(
        "Cannot read the zip archive: it declares more members than fit into it",
      );
    }
    members.set(normalized(member.name), member);
    return false;
  });
  return {
    names: [...members.keys()],
    read(name) {
      const wanted = members.get(name);
      if (!wanted) {
        throw new FormatError(
          `Cannot read ${name} in the zip archive: it has ${
            [...members.keys()].slice(0, 8).join(", ") || "no members"
          }`,
        );
      }
      checkMember(wanted, bytes.length);
      const all = unzip(fflate, bytes, (member) => member.name === wanted.name);
      const data = all[wanted.name];
      if (data?.length !== wanted.originalSize) {
        throw new FormatError(
          `Cannot read ${name} in the zip archive: expected ${wanted.originalSize} bytes, got ${
            data?.length ?? 0
          }, it is truncated`,
        );
      }
      return data;
    },
  };
}
