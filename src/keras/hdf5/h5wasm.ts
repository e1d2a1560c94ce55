/**
 * h5wasm, loaded when it is first needed. This is the only file that imports
 * it.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

// The part of h5wasm that is used, in h5wasm's own names: its own
// declarations leave out emscripten's terminals.

/** The type and shape of a dataset or attribute. */
export interface H5Metadata {
  readonly shape: number[] | null;
  readonly type: number;
  readonly size: number;
  readonly total_size: number;
  readonly signed: boolean;
  readonly vlen: boolean;
}

/** The WASM module; paths are absolute. */
export interface H5Module {
  readonly FS: H5FileSystem;
  /** Replaced when the memory grows; never to be kept. */
  readonly HEAPU8: Uint8Array;
  readonly H5G_GROUP: number;
  readonly H5G_DATASET: number;
  _malloc(bytes: number): number;
  _free(pointer: number): void;
  get_names(file: bigint, path: string, recursive: boolean): string[];
  get_type(file: bigint, path: string): number;
  get_attribute_names(file: bigint, path: string): string[];
  get_attribute_metadata(file: bigint, path: string, name: string): H5Metadata;
  get_attribute_data(
    file: bigint,
    path: string,
    name: string,
    pointer: bigint,
  ): number;
  /** Frees the strings that reading an attribute has allocated. */
  reclaim_vlen_memory(
    file: bigint,
    path: string,
    name: string,
    pointer: bigint,
  ): number;
  get_dataset_metadata(file: bigint, path: string): H5Metadata;
  get_dataset_data(
    file: bigint,
    path: string,
    count: null,
    offset: null,
    strides: null,
    pointer: bigint,
  ): number;
  /** The bytes are taken as little-endian elements of the dataset's own type. */
  set_dataset_data(
    file: bigint,
    path: string,
    count: null,
    offset: null,
    strides: null,
    pointer: bigint,
  ): number;
}

/** A file of Emscripten's file system. */
interface H5Node {
  /** Its length. */
  usedBytes: number;
  stream_ops: {
    /** Reads into `buffer`, a view of the WASM memory, from `start` on. */
    read(
      stream: unknown,
      buffer: Int8Array<ArrayBuffer>,
      start: number,
      length: number,
      position: number,
    ): number;
    write?(...args: never): unknown;
  };
}

/** Emscripten's file system, in memory. */
interface H5FileSystem {
  create(name: string): H5Node;
  analyzePath(name: string): { readonly exists: boolean };
  writeFile(name: string, data: Uint8Array, options: { canOwn: boolean }): void;
  readFile(name: string): Uint8Array<ArrayBuffer>;
  unlink(name: string): void;
  getStream(fd: number): { tty?: { ops: object } } | undefined;
  readonly ErrnoError: new (errno: number) => object;
}

/** A group that is written. */
export interface H5Group {
  create_group(name: string): H5Group;
  create_dataset(
    dataset: {
      name: string;
      data: Float32Array | Float64Array;
      shape: number[];
      dtype: "<f" | "<d";
    },
  ): unknown;
  create_attribute(name: string, value: string): void;
}

/** An open file; a negative id says that it could not be opened. */
export interface H5File extends H5Group {
  readonly file_id: bigint;
  close(): number;
}

/** The exports of the package. */
export interface H5Library {
  readonly ready: Promise<H5Module>;
  readonly File: new (name: string, mode: "r" | "a" | "w") => H5File;
}

/** The package, with its module ready. */
export interface Loaded {
  readonly library: H5Library;
  readonly module: H5Module;
}

/** What emscripten calls the standard error stream. */
const STDERR = 2;

/** What emscripten calls a read that failed. */
const EIO = 29;

/**
 * Not written into the import itself: a dynamic import that Deno can read is
 * fetched with the module graph, needed or not, and this one is 5 MB.
 */
const PACKAGE = "npm:h5wasm@0.10.3";

let loading: Promise<Loaded> | undefined;

/** Loads h5wasm, once. */
export async function loadH5wasm(): Promise<Loaded> {
  // A failed import is forgotten, so that the next call tries again.
  loading ??= import(PACKAGE).then(async (imported) => {
    const library = imported as unknown as H5Library;
    return { library, module: await library.ready };
  }).catch((cause) => {
    loading = undefined;
    throw cause;
  });
  return await loading;
}

let mounted = 0;

/**
 * Puts a file into emscripten's file system whose bytes are read when libhdf5
 * asks for them.
 *
 * @param module The WASM module.
 * @param size The file's length.
 * @param read Reads a part, as far as the file goes; it must not throw, and
 * gives nothing if it cannot, which libhdf5 then is told.
 * @returns What the file is called there; must be unlinked.
 */
export function mount(
  { FS }: H5Module,
  size: number,
  read: (position: number, length: number) => Uint8Array | undefined,
): string {
  let name: string;
  // Two copies of this module, each with its own count, share one h5wasm.
  do name = `/evenkeel-${mounted++}.h5`; while (FS.analyzePath(name).exists);
  const node = FS.create(name);
  node.usedBytes = size;
  const { write: _, ...others } = node.stream_ops;
  node.stream_ops = {
    ...others,
    read(_stream, buffer, start, length, position) {
      const bytes = read(position, length);
      if (!bytes) throw new FS.ErrnoError(EIO);
      new Uint8Array(buffer.buffer, start, length).set(bytes);
      return bytes.length;
    },
  };
  return name;
}

/**
 * Runs a call to h5wasm with the library's error stack caught instead of
 * printed, and anything thrown (C++ exceptions are plain numbers or strings)
 * turned into a FormatError with that stack as its cause.
 */
export function guarded<T>(module: H5Module, doing: string, call: () => T): T {
  const stack: number[] = [];
  const tty = module.FS.getStream(STDERR)?.tty;
  const ops = tty?.ops;
  if (tty) {
    tty.ops = {
      put_char: (_: unknown, byte: number) => stack.push(byte),
      fsync: () => {},
    };
  }
  try {
    return call();
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const text = new TextDecoder().decode(new Uint8Array(stack)).trim();
    throw new FormatError(
      `Cannot read the HDF5 file: ${doing} failed, it is damaged or truncated`,
      { cause: text === "" ? cause : new Error(text, { cause }) },
    );
  } finally {
    if (tty && ops) tty.ops = ops;
  }
}

/** Ends a call that failed without an exception. */
export function fail(): never {
  // Replaced by `guarded`, which knows what was being done.
  throw new Error("HDF5 reported an error");
}
