/**
 * Where a model comes from: a path, a URL, bytes, a `Blob`, or files by name.
 *
 * @module
 */

import { FormatError, OptionError } from "../../errors.ts";
import { PathFiles } from "./path_files.ts";
import {
  BlobFile,
  BytesFile,
  ifThere,
  MissingFileError,
  NAMELESS,
  NO_FOLDER,
  readAll,
  relativeParts,
  type SourceFile,
  type SourceFolder,
} from "./source_file.ts";
import { openUrl, type UrlOptions } from "./url_file.ts";

/**
 * A path or URL, of a file, of a folder with a SavedModel or a TensorFlow.js
 * model, or of a checkpoint without the `.index` at its end; the bytes of a
 * file; a `Blob`, such as the `File` that a browser's user chose; or the files
 * of a model by name, with `/` between the parts of a name.
 */
export type KerasSource =
  | string
  | URL
  | Uint8Array
  | Blob
  | Map<string, Uint8Array | Blob>;

/** A source that is open. */
export interface OpenSource {
  /** The file, or all files of a map, of which one is the model. */
  readonly files: readonly SourceFile[];
  /** The folder of one of the files. */
  folderOf(file: SourceFile): SourceFolder;
  /** Closes what is open; files must not be read afterwards. */
  close(): Promise<void>;
}

/** What a folder has that holds a model in several files. */
const FOLDER_FILES = ["saved_model.pb", "model.json"];
/** TensorFlow's note of which checkpoint of a folder is the latest. */
const CHECKPOINT_NOTE = "checkpoint";
const MAX_NOTE = 2 ** 20;
const INDEX = ".index";

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

function fileOf(name: unknown, content: unknown): SourceFile {
  if (typeof name === "string") {
    if (content instanceof Uint8Array) return new BytesFile(name, content);
    if (content instanceof Blob) return new BlobFile(name, content);
  }
  throw new OptionError(
    `Cannot load a model from a Map of ${kindOf(name)} to ${
      kindOf(content)
    }: expected names with a Uint8Array or Blob each${hintFor(content)}`,
  );
}

/** A name in a map as one that a file gives for another: without `./`. */
function plainName(name: string): string {
  return name.split("/").filter((part) => part !== "." && part !== "")
    .join("/");
}

function openMap(map: Map<string, unknown>): OpenSource {
  const files = [...map].map(([name, content]) => fileOf(name, content));
  const byName = new Map(files.map((file) => [plainName(file.name), file]));
  return {
    files,
    folderOf({ name }) {
      const own = plainName(name);
      const folder = own.slice(0, own.lastIndexOf("/") + 1);
      return {
        // deno-lint-ignore require-await
        async open(relativeName) {
          return byName.get(folder + relativeParts(relativeName).join("/"));
        },
      };
    },
    close: () => Promise.resolve(),
  };
}

/** One file that came without others. */
function alone(file: SourceFile): OpenSource {
  return {
    files: [file],
    folderOf: () => NO_FOLDER,
    close: () => Promise.resolve(),
  };
}

/** A place where files have names: how to open one, and what it is called. */
interface Place {
  open(relativeName: string): Promise<SourceFile>;
}

function folderAt(place: Place): SourceFolder {
  return {
    open: async (relativeName) =>
      await ifThere(place.open(relativeParts(relativeName).join("/"))),
  };
}

/** The latest checkpoint of a folder, as TensorFlow notes it beside it. */
async function notedCheckpoint(
  folder: SourceFolder,
): Promise<string | undefined> {
  const note = await folder.open(CHECKPOINT_NOTE);
  if (!note || note.size > MAX_NOTE) return undefined;
  const text = new TextDecoder().decode(await readAll(note));
  const path = /^model_checkpoint_path:\s*"([^"\\]+)"/m.exec(text)?.[1];
  // It may be absolute, from where the checkpoint was written.
  return path?.slice(path.lastIndexOf("/") + 1);
}

/** The file of a folder that stands for the model in it. */
async function mainFile(
  folder: SourceFolder,
): Promise<SourceFile | undefined> {
  for (const name of FOLDER_FILES) {
    const file = await folder.open(name);
    if (file) return file;
  }
  const noted = await notedCheckpoint(folder);
  return noted === undefined ? undefined : await folder.open(noted + INDEX);
}

function noModelIn(name: string): FormatError {
  return new FormatError(
    `Cannot read ${name}: it is a directory, expected a file, or a directory with ${
      FOLDER_FILES.join(", ")
    } or a checkpoint in it`,
  );
}

/** The file of a name, or of a checkpoint that is called so. */
async function fileOrCheckpoint(
  open: (suffix: string) => Promise<SourceFile>,
): Promise<SourceFile> {
  try {
    return await open("");
  } catch (error) {
    if (!(error instanceof MissingFileError)) throw error;
    const index = await ifThere(open(INDEX));
    if (index) return index;
    throw error;
  }
}

async function openPath(path: string | URL): Promise<OpenSource> {
  const files = new PathFiles();
  const at = (base: string | URL, name: string): string | URL => {
    if (!(base instanceof URL)) return `${base}/${name}`;
    const parts = name.split("/").map(encodeURIComponent);
    return new URL(parts.join("/"), base);
  };
  const folder = (base: string | URL): SourceFolder =>
    folderAt({ open: (name) => files.openRegular(at(base, name)) });
  const source = (file: SourceFile, inside: SourceFolder): OpenSource => ({
    files: [file],
    folderOf: () => inside,
    close: () => files.close(),
  });
  try {
    if (await files.isFolder(path)) {
      const inside = folder(withSlash(path));
      const main = await mainFile(inside);
      if (main) return source(main, inside);
      const index = await ifThere(files.open(withSuffix(path, INDEX)));
      if (!index) throw noModelIn(String(path));
      return source(index, folder(parentOf(path)));
    }
    const file = await fileOrCheckpoint((suffix) =>
      files.open(suffix ? withSuffix(path, suffix) : path)
    );
    return source(file, folder(parentOf(path)));
  } catch (error) {
    await files.close();
    throw error;
  }
}

/** A folder's URL with the slash that relative URLs need. */
function withSlash(path: string | URL): string | URL {
  if (!(path instanceof URL)) return path;
  return path.pathname.endsWith("/") ? path : withSuffix(path, "/");
}

function withSuffix(path: string | URL, suffix: string): string | URL {
  if (!(path instanceof URL)) return path.replace(/[/\\]+$/, "") + suffix;
  const url = new URL(path);
  url.pathname = url.pathname.replace(/\/+$/, "") + suffix;
  return url;
}

/** The folder of a path; of a URL, any file in it does. */
function parentOf(path: string | URL): string | URL {
  if (path instanceof URL) return path;
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  return at < 0 ? "." : path.slice(0, at) || "/";
}

async function openHttp(url: URL, options: UrlOptions): Promise<OpenSource> {
  const folder = folderAt({
    open(name) {
      const parts = name.split("/").map(encodeURIComponent);
      const beside = new URL(parts.join("/"), url);
      // What a query grants, such as a signed one, it grants beside as well.
      beside.search = url.search;
      return openUrl(beside, options);
    },
  });
  const source = (file: SourceFile): OpenSource => ({
    files: [file],
    folderOf: () => folder,
    close: () => Promise.resolve(),
  });
  if (url.pathname.endsWith("/")) {
    const main = await mainFile(folder);
    if (!main) throw noModelIn(url.href);
    return source(main);
  }
  return source(
    await fileOrCheckpoint((suffix) =>
      openUrl(suffix ? withSuffix(url, suffix) as URL : url, options)
    ),
  );
}

/** How {@linkcode openSource} reads. */
export type SourceOptions = Pick<UrlOptions, "signal">;

/**
 * Opens a source. Of a file behind a path, only what is read comes into
 * memory; for one behind a URL, see `url_file.ts`.
 *
 * Files beside the source's own are opened by name and never above its folder.
 * Symbolic links are followed: caches such as Hugging Face's are made of them.
 *
 * @param source What to open.
 * @param options How.
 * @returns The open source, which must be closed.
 *
 * @throws {FormatError} If there is nothing to read, or reading fails; the
 * original error is the cause.
 * @throws {OptionError} If it is none of these.
 */
export async function openSource(
  source: KerasSource,
  { signal }: SourceOptions = {},
): Promise<OpenSource> {
  signal?.throwIfAborted();
  if (source instanceof Uint8Array) {
    return alone(new BytesFile(NAMELESS.bytes, source));
  }
  if (source instanceof Blob) {
    const { name = NAMELESS.blob } = source as Blob & { name?: string };
    return alone(new BlobFile(name, source));
  }
  if (source instanceof Map) return openMap(source);
  if (typeof source !== "string" && !(source instanceof URL)) {
    throw new OptionError(
      `Cannot load a model from ${
        kindOf(source)
      }: expected a path, a URL, a Uint8Array, a Blob or a Map of files${
        hintFor(source)
      }`,
    );
  }
  const url = typeof source === "string" ? urlOf(source) : source;
  if (!url) return await openPath(source);
  const { protocol } = url;
  if (protocol === "file:") return await openPath(url);
  if (protocol === "http:" || protocol === "https:") {
    return await openHttp(url, { signal });
  }
  throw new FormatError(
    `Cannot read ${
      url.href.slice(0, 200)
    }: expected a URL with file:, http: or https:, got ${protocol}`,
  );
}
