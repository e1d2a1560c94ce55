/**
 * Files behind `http:` and `https:`, of which parts are asked for where the
 * server answers that.
 *
 * The first request asks for the first block. A server that answers 206 with
 * the file's length is then asked for blocks as they are needed: a part that
 * is read costs one request for each run of blocks that are not known yet,
 * and none if all are. Any other server sends the whole file, once.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { reasonOf } from "./path_files.ts";
import {
  BytesFile,
  checkPart,
  MissingFileError,
  newBytes,
  type SourceFile,
} from "./source_file.ts";

/**
 * What one request asks for at least: far more than the header of a file or
 * one layer's variables (four of 1024 channels are 16 KiB), and far less than
 * what a request's latency costs (64 KiB take 10 ms at 50 Mbit/s).
 */
export const BLOCK_BYTES = 2 ** 16;

/** How many blocks are kept: 64 MiB. The one that was used longest ago goes first. */
const MAX_BLOCKS = 1024;

/** Runs of more than 1 MiB go to the reader alone: a whole file is not kept twice. */
const MAX_KEPT_RUN = 16;

/**
 * The most that is taken from a server that does not say how much will come,
 * or does not send parts.
 */
const MAX_DOWNLOAD = 2 ** 31;

/** How {@linkcode openUrl} fetches. */
export interface UrlOptions {
  /** Ends all requests. */
  readonly signal?: AbortSignal | undefined;
  /** The most bytes of a whole file; by default 2 GiB. */
  readonly maxDownload?: number;
}

function unfetchable(
  name: string,
  reason: string,
  options?: ErrorOptions,
): FormatError {
  return new FormatError(`Cannot fetch ${name}: ${reason}`, options);
}

/** Runs a request; what fails is a FormatError, but for the caller's own abort. */
async function attempt<T>(
  name: string,
  signal: AbortSignal | undefined,
  request: () => Promise<T>,
): Promise<T> {
  try {
    return await request();
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    if (cause instanceof FormatError) throw cause;
    throw unfetchable(name, reasonOf(cause), { cause });
  }
}

/** The bytes of an answer, up to a limit. */
async function bodyOf(
  response: Response,
  name: string,
  limit: number,
  whatCame: string,
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // A reader, since not all browsers can iterate over a stream.
  const reader = response.body?.getReader();
  for (let step; reader && !(step = await reader.read()).done;) {
    length += step.value.length;
    if (length > limit) {
      await reader.cancel();
      throw unfetchable(name, `${whatCame} than ${limit} bytes`);
    }
    pieces.push(step.value);
  }
  if (pieces.length === 1) return pieces[0]!;
  const bytes = newBytes(name, length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Frees the connection of an answer that is not wanted. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel();
}

interface ContentRange {
  readonly first: number;
  readonly last: number;
  readonly size: number;
}

/** `bytes 0-99/1234`; undefined without a length, or if it makes no sense. */
function contentRange(response: Response): ContentRange | undefined {
  const match = /^\s*bytes\s+(\d+)-(\d+)\/(\d+)\s*$/i
    .exec(response.headers.get("content-range") ?? "");
  if (!match) return undefined;
  const [first, last, size] = match.slice(1).map(Number) as [
    number,
    number,
    number,
  ];
  return first <= last && last < size && Number.isSafeInteger(size)
    ? { first, last, size }
    : undefined;
}

/** Whether the bytes of an answer are the file's own; ranges count encoded ones. */
function isEncoded(response: Response): boolean {
  const encoding = response.headers.get("content-encoding");
  return encoding !== null && encoding.trim().toLowerCase() !== "identity";
}

/** What tells one version of a file from another; a weak tag does not do for ranges. */
function versionOf(response: Response): string | undefined {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : undefined;
}

function refused(name: string, { status, statusText }: Response): FormatError {
  const answer = `${status} ${statusText}`.trim();
  const isMissing = status === 404 || status === 410;
  return new (isMissing ? MissingFileError : FormatError)(
    `Cannot fetch ${name}: the server answered ${answer}`,
  );
}

/** A file of which the server sends parts. */
class RangedFile implements SourceFile {
  readonly name: string;
  readonly size: number;
  readonly #url: URL;
  readonly #version: string | undefined;
  readonly #signal: AbortSignal | undefined;
  /** By number; the one that was used last is last. */
  readonly #blocks = new Map<number, Uint8Array>();

  constructor(
    url: URL,
    size: number,
    version: string | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.name = url.href;
    this.size = size;
    this.#url = url;
    this.#version = version;
    this.#signal = signal;
  }

  /** Keeps bytes that begin with a block. */
  keep(firstBlock: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
      // A copy, so that a block does not keep the whole run.
      const block = bytes.slice(at, at + BLOCK_BYTES);
      this.#blocks.set(firstBlock + at / BLOCK_BYTES, block);
    }
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_BLOCKS) break;
      this.#blocks.delete(oldest);
    }
  }

  /** A block that is known; it is kept longer than others then. */
  #known(block: number): Uint8Array | undefined {
    const bytes = this.#blocks.get(block);
    if (bytes) {
      this.#blocks.delete(block);
      this.#blocks.set(block, bytes);
    }
    return bytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    checkPart(this, offset, length);
    this.#signal?.throwIfAborted();
    const end = offset + length;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.ceil(end / BLOCK_BYTES);
    const only = last - first === 1 ? this.#known(first) : undefined;
    if (only) {
      const start = offset - first * BLOCK_BYTES;
      return only.subarray(start, start + length);
    }
    const result = newBytes(this.name, length);
    const copy = (block: number, bytes: Uint8Array) => {
      const at = block * BLOCK_BYTES - offset;
      const skipped = Math.max(0, -at);
      result.set(bytes.subarray(skipped, length - at), at + skipped);
    };
    for (let block = first; block < last;) {
      const known = this.#known(block);
      if (known) {
        copy(block++, known);
        continue;
      }
      let next = block + 1;
      while (next < last && !this.#blocks.has(next)) next++;
      const bytes = await this.#fetch(block, next);
      copy(block, bytes);
      if (next - block <= MAX_KEPT_RUN) this.keep(block, bytes);
      block = next;
    }
    return result;
  }

  /** The bytes of a run of blocks, as far as the file goes. */
  async #fetch(firstBlock: number, endBlock: number): Promise<Uint8Array> {
    const from = firstBlock * BLOCK_BYTES;
    const to = Math.min(this.size, endBlock * BLOCK_BYTES);
    const response = await request(this.#url, from, to, {
      signal: this.#signal,
      version: this.#version,
    });
    const { name } = this;
    return await attempt(name, this.#signal, async () => {
      const { status } = response;
      const range = contentRange(response);
      const isSame = versionOf(response) === this.#version &&
        range?.size === this.size;
      const isAsked = range?.first === from && range.last === to - 1;
      if (status !== 206 || !isSame || !isAsked || isEncoded(response)) {
        await discard(response);
        if (status === 206 && isSame) {
          throw unfetchable(
            name,
            `the server sent other bytes than the asked ${from} to ${to - 1}`,
          );
        }
        // A changed file comes whole, or has another length or version.
        throw status === 206 || status === 200 || status === 416
          ? unfetchable(name, "the file changed while it was read")
          : refused(name, response);
      }
      const bytes = await bodyOf(
        response,
        name,
        to - from,
        "the server sent more",
      );
      if (bytes.length !== to - from) {
        throw unfetchable(
          name,
          `the server sent ${bytes.length} bytes instead of ${to - from}`,
        );
      }
      return bytes;
    });
  }
}

interface RequestOptions {
  readonly signal: AbortSignal | undefined;
  readonly version?: string | undefined;
}

async function request(
  url: URL,
  from: number,
  to: number,
  { signal, version }: RequestOptions,
): Promise<Response> {
  const headers = {
    range: `bytes=${from}-${to - 1}`,
    ...(version === undefined ? {} : { "if-range": version }),
  };
  return await attempt(
    url.href,
    signal,
    () => fetch(url, { headers, ...(signal ? { signal } : {}) }),
  );
}

async function download(
  url: URL,
  answered: Response | undefined,
  { signal, maxDownload = MAX_DOWNLOAD }: UrlOptions,
): Promise<SourceFile> {
  const name = url.href;
  return await attempt(name, signal, async () => {
    const response = answered ?? await fetch(url, signal ? { signal } : {});
    if (!response.ok) {
      await discard(response);
      throw refused(name, response);
    }
    const bytes = await bodyOf(
      response,
      name,
      maxDownload,
      "the server sends no parts of it, and more",
    );
    return new BytesFile(name, bytes);
  });
}

/**
 * Opens a file behind a URL, following redirects.
 *
 * @throws {MissingFileError} If the server answers that there is none (404 or
 * 410).
 * @throws {FormatError} If the server cannot be reached, answers anything else
 * than the file, or sends more than the limit.
 */
export async function openUrl(
  url: URL,
  options: UrlOptions = {},
): Promise<SourceFile> {
  const { signal } = options;
  const response = await request(url, 0, BLOCK_BYTES, { signal });
  // An empty file has no first byte, so that any range is beyond its end.
  if (response.status === 416) {
    await discard(response);
    return await download(url, undefined, options);
  }
  if (response.status !== 206) return await download(url, response, options);
  const range = contentRange(response);
  const isUsable = range?.first === 0 && !isEncoded(response) &&
    range.last === Math.min(range.size, BLOCK_BYTES) - 1;
  if (!isUsable) {
    await discard(response);
    return await download(url, undefined, options);
  }
  const bytes = await attempt(
    url.href,
    signal,
    () => bodyOf(response, url.href, range.last + 1, "the server sent more"),
  );
  if (bytes.length !== range.last + 1) {
    throw unfetchable(
      url.href,
      `the server sent ${bytes.length} bytes instead of ${range.last + 1}`,
    );
  }
  const file = new RangedFile(url, range.size, versionOf(response), signal);
  file.keep(0, bytes);
  return file;
}
