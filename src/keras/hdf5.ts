/**
 * HDF5 files: a small read-only view, so that the library behind it can be
 * replaced.
 *
 * h5wasm keeps files in its own memory; nothing touches the real file system.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import {
  fail,
  guarded,
  type H5File,
  type H5Library,
  type H5Metadata,
  type H5Module,
  type Loaded,
  loadH5wasm,
} from "./h5wasm.ts";
import { checkGlobalHeaps } from "./hdf5_heap.ts";
import { fromLittleEndian, rawType } from "./raw_tensor.ts";

/** A dataset; nothing of it is read before it is asked for. */
export interface Hdf5Dataset {
  readonly kind: "dataset";
  /** Where it is in the file, from the root, with a leading slash. */
  readonly path: string;
  /** The extents. */
  readonly dims: readonly number[];
  /** The element type: a numpy name such as `float32` or `int64`, or what it is. */
  readonly type: string;
  /** The bytes that the elements take when they are read. */
  readonly byteLength: number;
  /**
   * Reads all elements.
   *
   * @throws {FormatError} If they cannot be read, or are not of a float type.
   */
  read(): Tensor;
}

/** A group. */
export interface Hdf5Group {
  readonly kind: "group";
  /** Where it is in the file, from the root, with a leading slash. */
  readonly path: string;
  /** The names of its members, in the file's order. */
  keys(): string[];
  /** The member at a relative path; undefined for none, and for links out of the file. */
  get(path: string): Hdf5Group | Hdf5Dataset | undefined;
  /**
   * An attribute's strings: one for a scalar, none for an empty array of any
   * type (h5py stores an empty list as floats); undefined without it.
   */
  strings(attribute: string): string[] | undefined;
}

/** An open file. */
export interface Hdf5File {
  readonly root: Hdf5Group;
  /** Frees the file; members must not be used afterwards. */
  close(): void;
}

/**
 * A dataset that declares more than this, and more than deflate could have
 * made of the whole file, is a bomb.
 */
const UNSUSPICIOUS_BYTES = 2 ** 26;
const MAX_EXPANSION = 1032;

let opened = 0;

class Dataset implements Hdf5Dataset {
  readonly kind = "dataset";
  readonly path: string;
  readonly #file: OpenFile;
  #metadata: H5Metadata | undefined;
  #type: string | undefined;

  constructor(file: OpenFile, path: string) {
    this.#file = file;
    this.path = path;
  }

  #describe(): H5Metadata {
    const { module, id } = this.#file;
    return this.#metadata ??= guarded(
      module,
      `describing ${this.path}`,
      () => module.get_dataset_metadata(id, this.path),
    );
  }

  get dims(): readonly number[] {
    return this.#describe().shape ?? [];
  }

  get type(): string {
    // Keras names the type of opaque elements beside them.
    return this.#type ??= this.#file.strings(this.path, "dtype")?.[0] ??
      typeName(this.#describe());
  }

  get byteLength(): number {
    const { size, total_size } = this.#describe();
    return size * total_size;
  }

  read(): Tensor {
    const { path, type, dims, byteLength } = this;
    const { module, id, fileBytes } = this.#file;
    const raw = rawType(type);
    const { size } = this.#describe();
    if (raw === undefined || raw.bytes !== size) {
      throw new FormatError(
        `Cannot read ${path}: expected float elements, found ${type} of ${size} bytes`,
      );
    }
    if (
      byteLength > UNSUSPICIOUS_BYTES && byteLength > MAX_EXPANSION * fileBytes
    ) {
      throw new FormatError(
        `Cannot read ${path}: it declares ${byteLength} bytes, in a file of ${fileBytes}`,
      );
    }
    const bytes = guarded(module, `reading ${path}`, () => {
      const pointer = module._malloc(byteLength);
      if (pointer === 0) fail();
      try {
        const status = module.get_dataset_data(
          id,
          path,
          null,
          null,
          null,
          BigInt(pointer),
        );
        if (status < 0) fail();
        return module.HEAPU8.slice(pointer, pointer + byteLength);
      } finally {
        module._free(pointer);
      }
    });
    return {
      type: raw.type,
      dims: [...dims],
      data: fromLittleEndian(raw, bytes),
    };
  }
}

class Group implements Hdf5Group {
  readonly kind = "group";
  readonly path: string;
  readonly #file: OpenFile;

  constructor(file: OpenFile, path: string) {
    this.#file = file;
    this.path = path;
  }

  keys(): string[] {
    const { module, id } = this.#file;
    return guarded(
      module,
      `listing ${this.path}`,
      () => [...module.get_names(id, this.path, false)],
    );
  }

  get(path: string): Hdf5Group | Hdf5Dataset | undefined {
    const { module, id } = this.#file;
    const full = `${this.path === "/" ? "" : this.path}/${path}`
      .replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
    const type = guarded(
      module,
      `looking up ${full}`,
      () => module.get_type(id, full),
    );
    if (type === module.H5G_GROUP) return new Group(this.#file, full);
    if (type === module.H5G_DATASET) return new Dataset(this.#file, full);
    return undefined;
  }

  strings(attribute: string): string[] | undefined {
    return this.#file.strings(this.path, attribute);
  }
}

class OpenFile {
  readonly module: H5Module;
  readonly fileBytes: number;
  readonly id: bigint;
  readonly #library: H5Library;
  readonly #name: string;
  readonly #file: H5File;

  constructor({ library, module }: Loaded, bytes: Uint8Array) {
    this.module = module;
    this.fileBytes = bytes.length;
    this.#library = library;
    this.#name = `/evenkeel-${opened++}.h5`;
    // The bytes are used as they are: the file is opened for reading only.
    module.FS.writeFile(this.#name, bytes, { canOwn: true });
    try {
      this.#file = guarded(module, "opening it", () => {
        const file = new library.File(this.#name, "r");
        return file.file_id < 0n ? fail() : file;
      });
    } catch (error) {
      module.FS.unlink(this.#name);
      throw error;
    }
    this.id = this.#file.file_id;
  }

  strings(path: string, attribute: string): string[] | undefined {
    const { module, id } = this;
    return guarded(module, `reading attribute ${attribute} of ${path}`, () => {
      if (!module.get_attribute_names(id, path).includes(attribute)) {
        return undefined;
      }
      const { shape, value } = new this.#library.Attribute(id, path, attribute);
      if (shape === null || shape.includes(0)) return [];
      const values: unknown = Array.isArray(value) ? value : [value];
      const isStrings = (items: unknown): items is string[] =>
        Array.isArray(items) && items.every((item) => typeof item === "string");
      return isStrings(values) ? values.map(asUtf8) : fail();
    });
  }

  close(): void {
    try {
      guarded(this.module, "closing it", () => this.#file.close());
    } finally {
      this.module.FS.unlink(this.#name);
    }
  }
}

/**
 * Keras writes UTF-8 into strings that HDF5 is told to be ASCII, which h5wasm
 * reads as one character per byte.
 */
function asUtf8(text: string): string {
  if (!/[\u0080-\u00ff]/.test(text) || /[\u0100-\uffff]/.test(text)) {
    return text;
  }
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes);
  } catch {
    return text;
  }
}

/** numpy's name of an HDF5 type, by the numbers of `H5T_class_t`. */
function typeName({ type, size, signed, vlen }: H5Metadata): string {
  const bits = 8 * size;
  if (type === 0) return `${signed ? "int" : "uint"}${bits}`;
  if (type === 1) return `float${bits}`;
  if (type === 3) return vlen ? "string" : `string of ${size} bytes`;
  // Keras 3 in its old format writes ml_dtypes arrays as they are; bfloat16 is
  // the only one with two bytes.
  if (type === 5 && size === 2) return "bfloat16";
  if (type === 8) return "enum";
  return `HDF5 class ${type}`;
}

/**
 * Opens an HDF5 file; the first call loads h5wasm.
 *
 * @param bytes The whole file; must not change until the file is closed.
 * @returns The open file, which must be closed.
 *
 * @throws {FormatError} If it is not HDF5, damaged or truncated; HDF5's own
 * error stack is the cause.
 */
export async function openHdf5(bytes: Uint8Array): Promise<Hdf5File> {
  checkGlobalHeaps(bytes);
  const file = new OpenFile(await loadH5wasm(), bytes);
  return { root: new Group(file, "/"), close: () => file.close() };
}
