/**
 * HDF5 files: a small read-only view, so that the library behind it can be
 * replaced.
 *
 * Of a file, what describes the members that are asked for is read, and the
 * datasets that are read; not the rest.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { Tensor } from "../../tensor.ts";
import { fromLittleEndian, rawType } from "../files/raw_tensor.ts";
import { BytesFile, type SourceFile } from "../files/source_file.ts";
import { readStrings } from "./attributes.ts";
import { Hdf5Bytes } from "./bytes.ts";
import {
  fail,
  guarded,
  type H5File,
  type H5Metadata,
  type H5Module,
  type Loaded,
  loadH5wasm,
  mount,
} from "./h5wasm.ts";

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
  /** Reads all elements, of any file; see {@linkcode Hdf5File.settled}. */
  load(): Promise<Tensor>;
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
  /**
   * Whether all of it is there when it is asked for. What is asked of another
   * file's members must be asked within {@linkcode Hdf5File.settled}; what was
   * told once is known from then on.
   */
  readonly isAtHand: boolean;
  /**
   * Calls something with the file's members, again and again until all that
   * it asks for is there.
   *
   * @param call What is called; it must not change anything.
   */
  settled<T>(call: () => T): Promise<T>;
  /** Frees the file; members must not be used afterwards. */
  close(): void;
}

/**
 * A dataset that declares more than this, and more than deflate could have
 * made of the whole file, is a bomb.
 */
const UNSUSPICIOUS_BYTES = 2 ** 26;
const MAX_EXPANSION = 1032;

/** What fits into h5wasm's memory, whose addresses have 32 bits. */
const MAX_BYTES = 2 ** 31;

class Dataset implements Hdf5Dataset {
  readonly kind = "dataset";
  readonly path: string;
  readonly #file: OpenFile;

  constructor(file: OpenFile, path: string) {
    this.#file = file;
    this.path = path;
  }

  get dims(): readonly number[] {
    return this.#file.describe(this.path).shape ?? [];
  }

  get type(): string {
    // Keras names the type of opaque elements beside them.
    return this.#file.strings(this.path, "dtype")?.[0] ??
      typeName(this.#file.describe(this.path));
  }

  get byteLength(): number {
    const { size, total_size } = this.#file.describe(this.path);
    return size * total_size;
  }

  read(): Tensor {
    const { path, type, dims, byteLength } = this;
    const fileBytes = this.#file.bytes.size;
    const raw = rawType(type);
    const { size } = this.#file.describe(path);
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
    if (byteLength > MAX_BYTES) {
      throw new FormatError(
        `Cannot read ${path}: it has ${byteLength} bytes, expected at most ${MAX_BYTES}`,
      );
    }
    const data = fromLittleEndian(raw, this.#file.data(path, byteLength));
    return { type: raw.type, dims: [...dims], data };
  }

  async load(): Promise<Tensor> {
    const { bytes } = this.#file;
    const byteLength = await bytes.settled(() => this.byteLength);
    // Ahead, since chunks of a large one are read one after the other.
    return await bytes.settled(() => this.read(), byteLength);
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
    return [...this.#file.names(this.path)];
  }

  get(path: string): Hdf5Group | Hdf5Dataset | undefined {
    const { H5G_GROUP, H5G_DATASET } = this.#file.module;
    const full = `${this.path === "/" ? "" : this.path}/${path}`
      .replace(/\/+/g, "/").replace(/(.)\/$/, "$1");
    const type = this.#file.typeOf(full);
    if (type === H5G_GROUP) return new Group(this.#file, full);
    if (type === H5G_DATASET) return new Dataset(this.#file, full);
    return undefined;
  }

  strings(attribute: string): string[] | undefined {
    return this.#file.strings(this.path, attribute);
  }
}

/** What was told once, also that it is damaged, by what was asked for. */
class Known<T> {
  readonly #answers = new Map<string, () => T>();

  get(question: string, ask: () => T): T {
    const known = this.#answers.get(question);
    if (known) return known();
    try {
      const answer = ask();
      this.#answers.set(question, () => answer);
      return answer;
    } catch (error) {
      if (error instanceof FormatError) {
        this.#answers.set(question, () => {
          throw error;
        });
      }
      throw error;
    }
  }
}

class OpenFile implements Hdf5File {
  readonly module: H5Module;
  readonly bytes: Hdf5Bytes;
  readonly root: Hdf5Group;
  readonly #name: string;
  readonly #file: H5File;
  readonly #names = new Known<readonly string[]>();
  readonly #types = new Known<number>();
  readonly #metadata = new Known<H5Metadata>();
  readonly #attributes = new Known<readonly string[]>();
  readonly #strings = new Known<readonly string[]>();
  /** Why libhdf5 was not given what it asked for, during one call. */
  readonly #failures: unknown[] = [];

  constructor({ library, module }: Loaded, bytes: Hdf5Bytes) {
    this.module = module;
    this.bytes = bytes;
    this.root = new Group(this, "/");
    this.#name = mount(module, bytes.size, (position, length) => {
      try {
        return bytes.read(position, length);
      } catch (cause) {
        this.#failures.push(cause);
        return undefined;
      }
    });
    try {
      this.#file = this.#do("opening it", () => {
        const file = new library.File(this.#name, "r");
        return file.file_id < 0n ? fail() : file;
      });
    } catch (error) {
      module.FS.unlink(this.#name);
      throw error;
    }
  }

  get isAtHand(): boolean {
    return this.bytes.isAtHand;
  }

  settled<T>(call: () => T): Promise<T> {
    return this.bytes.settled(call);
  }

  /** Runs a call to h5wasm. */
  #do<T>(doing: string, call: () => T): T {
    this.#failures.length = 0;
    try {
      return guarded(this.module, doing, () => {
        const result = call();
        // h5wasm does not always tell that it got no further.
        return this.#failures.length > 0 ? fail() : result;
      });
    } catch (error) {
      throw this.#failures.length > 0 ? this.#failures[0] : error;
    }
  }

  /** The names of a group's members. */
  names(path: string): readonly string[] {
    return this.#names.get(path, () =>
      this.#do(
        `listing ${path}`,
        () => [...this.module.get_names(this.#file.file_id, path, false)],
      ));
  }

  /** What a path leads to, in HDF5's numbers. */
  typeOf(path: string): number {
    return this.#types.get(path, () =>
      this.#do(
        `looking up ${path}`,
        () => this.module.get_type(this.#file.file_id, path),
      ));
  }

  /** The type and shape of a dataset. */
  describe(path: string): H5Metadata {
    return this.#metadata.get(path, () =>
      this.#do(
        `describing ${path}`,
        () => this.module.get_dataset_metadata(this.#file.file_id, path),
      ));
  }

  /** The strings of an attribute; undefined without it. */
  strings(path: string, attribute: string): string[] | undefined {
    const { module } = this;
    const id = this.#file.file_id;
    const doing = `reading attribute ${attribute} of ${path}`;
    const names = this.#attributes.get(
      path,
      () => this.#do(doing, () => [...module.get_attribute_names(id, path)]),
    );
    if (!names.includes(attribute)) return undefined;
    const strings = this.#strings.get(
      // No name has this character.
      `${path}\0${attribute}`,
      () => this.#do(doing, () => readStrings(module, id, path, attribute)),
    );
    return [...strings];
  }

  /** The elements of a dataset. */
  data(path: string, byteLength: number): Uint8Array<ArrayBuffer> {
    const { module } = this;
    return this.#do(`reading ${path}`, () => {
      const pointer = module._malloc(byteLength);
      if (pointer === 0) {
        throw new FormatError(
          `Cannot read ${path}: there is no memory for its ${byteLength} bytes`,
        );
      }
      try {
        const status = module.get_dataset_data(
          this.#file.file_id,
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
  }

  close(): void {
    try {
      this.#do("closing it", () => this.#file.close());
    } finally {
      this.module.FS.unlink(this.#name);
    }
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
 * @param source The file, or all of its bytes; must not change until it is
 * closed.
 * @returns The open file, which must be closed.
 *
 * @throws {FormatError} If it is not HDF5, damaged or truncated; HDF5's own
 * error stack is the cause.
 */
export async function openHdf5(
  source: Uint8Array | SourceFile,
): Promise<Hdf5File> {
  const bytes = new Hdf5Bytes(
    source instanceof Uint8Array
      ? new BytesFile("the HDF5 file", source)
      : source,
  );
  const loaded = await loadH5wasm();
  return await bytes.settled(() => new OpenFile(loaded, bytes));
}
