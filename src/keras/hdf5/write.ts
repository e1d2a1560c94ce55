/**
 * HDF5 files that are made, or of which datasets are overwritten.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { castTensor, type Tensor } from "../../tensor.ts";
import {
  fail,
  guarded,
  type H5File,
  type H5Group,
  type Loaded,
  loadH5wasm,
} from "./h5wasm.ts";
import { checkGlobalHeaps } from "./heap.ts";

/** A group to be written. */
export interface NewGroup {
  /** Texts by name. */
  readonly attributes?: Readonly<Record<string, string>>;
  /** Groups and datasets by name. */
  readonly members: ReadonlyMap<string, NewGroup | Tensor>;
}

let written = 0;

/** Calls something with a file in h5wasm's memory, and gives the file's bytes then. */
function within(
  { library, module }: Loaded,
  bytes: Uint8Array | undefined,
  call: (file: H5File) => void,
): Uint8Array<ArrayBuffer> {
  const name = `/evenkeel-write-${written++}.h5`;
  // A copy: h5wasm writes into what it is given.
  if (bytes) module.FS.writeFile(name, bytes.slice(), { canOwn: true });
  try {
    const file = guarded(module, "opening it", () => {
      const opened = new library.File(name, bytes ? "a" : "w");
      return opened.file_id < 0n ? fail() : opened;
    });
    try {
      call(file);
    } finally {
      // Only then everything is written.
      guarded(module, "closing it", () => file.close());
    }
    return module.FS.readFile(name);
  } finally {
    module.FS.unlink(name);
  }
}

/** A tensor as h5wasm can write it; halves as floats, without loss. */
function fill(group: H5Group, content: NewGroup): void {
  for (const [name, text] of Object.entries(content.attributes ?? {})) {
    group.create_attribute(name, text);
  }
  for (const [name, member] of content.members) {
    if ("members" in member) {
      fill(group.create_group(name), member);
      continue;
    }
    const { type } = member;
    const shape = [...member.dims];
    if (type === "float64") {
      const data = member.data as Float64Array;
      group.create_dataset({ name, data, shape, dtype: "<d" });
    } else {
      const data = castTensor(member, "float32").data as Float32Array;
      group.create_dataset({ name, data, shape, dtype: "<f" });
    }
  }
}

/**
 * Makes an HDF5 file; the first call loads h5wasm.
 *
 * float32 and float64 are written as they are, float16 and bfloat16, for which
 * h5wasm has no type, as float32.
 *
 * @param root The root group.
 * @returns The bytes; the same content gives the same ones.
 */
export async function buildHdf5(
  root: NewGroup,
): Promise<Uint8Array<ArrayBuffer>> {
  const loaded = await loadH5wasm();
  return within(
    loaded,
    undefined,
    (file) => guarded(loaded.module, "writing it", () => fill(file, root)),
  );
}

/**
 * Overwrites datasets of an HDF5 file where they are; of datasets that are not
 * in compressed chunks, no other byte of the file changes.
 *
 * @param bytes The file; not changed.
 * @param updates The datasets' new elements by path, little-endian and of the
 * datasets' own types.
 * @returns The new file.
 *
 * @throws {FormatError} If there is no such dataset, it is of another size, or
 * the file is damaged.
 */
export async function updateHdf5(
  bytes: Uint8Array,
  updates: ReadonlyMap<string, Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  checkGlobalHeaps(bytes);
  const loaded = await loadH5wasm();
  const { module } = loaded;
  return within(loaded, bytes, ({ file_id: id }) => {
    for (const [path, data] of updates) {
      guarded(module, `writing ${path}`, () => {
        if (module.get_type(id, path) !== module.H5G_DATASET) {
          throw new FormatError(
            `Cannot write ${path} of the HDF5 file: expected a dataset there`,
          );
        }
        const { size, total_size } = module.get_dataset_metadata(id, path);
        if (size * total_size !== data.length) {
          throw new FormatError(
            `Cannot write ${path} of the HDF5 file: expected ${
              size * total_size
            } bytes, got ${data.length}`,
          );
        }
        const pointer = module._malloc(data.length);
        if (pointer === 0) fail();
        try {
          module.HEAPU8.set(data, pointer);
          const status = module.set_dataset_data(
            id,
            path,
            null,
            null,
            null,
            BigInt(pointer),
          );
          if (status < 0) fail();
        } finally {
          module._free(pointer);
        }
      });
    }
  });
}
