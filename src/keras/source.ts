/**
 * Where a model comes from: a path, a URL, bytes, or named bytes.
 *
 * @module
 */

import { FormatError, OptionError } from "../errors.ts";

/** A path or URL, the bytes of a file, or the bytes of files by name. */
export type KerasSource = string | URL | Uint8Array | Map<string, Uint8Array>;

/** A file's bytes, and what to call it in messages. */
export interface SourceFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory, expected a file",
  ENOTDIR: "a part of the path is not a directory",
  EACCES: "permission denied",
};

/** What went wrong, in words: Node's code, or Deno's missing permission. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const { code } = cause as { code?: unknown };
  return typeof code === "string" && Object.hasOwn(REASONS, code)
    ? REASONS[code]!
    : cause.message;
}

async function readPath(path: string | URL): Promise<SourceFile> {
  const name = path instanceof URL ? path.href : path;
  try {
    // Node's module, since Deno, Node and Bun all have it.
    const { readFile } = await import("node:fs/promises");
    return { name, bytes: await readFile(path) };
  } catch (cause) {
    throw new FormatError(`Cannot read ${name}: ${reasonOf(cause)}`, { cause });
  }
}

async function fetchBytes(url: URL): Promise<SourceFile> {
  const name = url.href;
  let response: Response;
  let bytes: Uint8Array;
  try {
    response = await fetch(url);
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new FormatError(`Cannot fetch ${name}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (!response.ok) {
    throw new FormatError(
      `Cannot fetch ${name}: the server answered ${response.status} ${response.statusText}`,
    );
  }
  return { name, bytes };
}

function fileOf(name: unknown, bytes: unknown): SourceFile {
  if (typeof name !== "string" || !(bytes instanceof Uint8Array)) {
    throw new OptionError(
      `Cannot load a model from a Map of ${kindOf(name)} to ${
        kindOf(bytes)
      }: expected names with a Uint8Array each${hintFor(bytes)}`,
    );
  }
  return { name, bytes };
}

/** What a value is, in a word. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (typeof value !== "object") return typeof value;
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

function hintFor(value: unknown): string {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value)
    ? "; wrap the buffer: new Uint8Array(buffer)"
    : "";
}

/** The URL that a string is; undefined for a path, also one such as `C:/x`. */
function urlOf(source: string): URL | undefined {
  if (!/^(file|https?):|^[a-z][a-z\d+.-]+:\/\//i.test(source)) return undefined;
  try {
    return new URL(source);
  } catch (cause) {
    throw new FormatError(`Cannot read ${source}: it is no valid URL`, {
      cause,
    });
  }
}

/**
 * Reads all bytes of a source.
 *
 * @param source A path (also `file:` or `http(s):` as a string), a URL, bytes,
 * or a map with one file.
 * @returns The files: one, but for a map.
 *
 * @throws {FormatError} If there is nothing to read, or reading fails; the
 * original error is the cause.
 * @throws {OptionError} If it is none of these.
 */
export async function readSource(source: KerasSource): Promise<SourceFile[]> {
  if (source instanceof Uint8Array) {
    return [{ name: "the bytes", bytes: source }];
  }
  if (source instanceof Map) {
    return [...source].map(([name, bytes]) => fileOf(name, bytes));
  }
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw new OptionError(
      `Cannot load a model from ${
        kindOf(source)
      }: expected a path, a URL, a Uint8Array or a Map of them${
        hintFor(source)
      }`,
    );
  }
  const url = typeof source === "string" ? urlOf(source) : source;
  if (!url) return [await readPath(source)];
  const { protocol } = url;
  if (protocol === "file:") return [await readPath(url)];
  if (protocol === "http:" || protocol === "https:") {
    return [await fetchBytes(url)];
  }
  throw new FormatError(
    `Cannot read ${
      url.href.slice(0, 200)
    }: expected a URL with file:, http: or https:, got ${protocol}`,
  );
}
