/**
 * HDF5 files made in tests, in h5wasm's memory.
 *
 * @module
 */

import * as h5wasm from "h5wasm";

/** A dataset: float32 values, or others with the type in h5wasm's words. */
export interface BuiltDataset {
  readonly dims: readonly number[];
  readonly values: readonly number[] | Float32Array;
  /** `<f` by default. */
  readonly dtype?: string;
}

/** A group: attributes, and members by name. */
export interface BuiltGroup {
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>;
  readonly members?: Readonly<Record<string, BuiltGroup | BuiltDataset>>;
  /** Soft links: where they lead to, by name. */
  readonly links?: Readonly<Record<string, string>>;
}

function isDataset(item: BuiltGroup | BuiltDataset): item is BuiltDataset {
  return "values" in item;
}

function fill(group: h5wasm.Group, content: BuiltGroup): void {
  for (const [name, value] of Object.entries(content.attributes ?? {})) {
    if (typeof value !== "string" && value.length === 0) {
      // As h5py stores an empty list.
      group.create_attribute(name, new Float64Array(0), [0], "<d");
    } else {
      group.create_attribute(
        name,
        typeof value === "string" ? value : [...value],
      );
    }
  }
  for (const [name, target] of Object.entries(content.links ?? {})) {
    group.create_soft_link(target, name);
  }
  for (const [path, item] of Object.entries(content.members ?? {})) {
    const parts = path.split("/");
    const last = parts.pop()!;
    const parent = parts.reduce((at, part) => {
      const there = at.get(part);
      return there instanceof h5wasm.Group ? there : at.create_group(part);
    }, group);
    if (isDataset(item)) {
      parent.create_dataset({
        name: last,
        data: [...item.values],
        shape: [...item.dims],
        dtype: item.dtype ?? "<f",
      });
    } else {
      const there = parent.get(last);
      fill(
        there instanceof h5wasm.Group ? there : parent.create_group(last),
        item,
      );
    }
  }
}

/** The bytes of a file with this root. */
export async function buildHdf5(
  root: BuiltGroup,
): Promise<Uint8Array<ArrayBuffer>> {
  const { FS } = await h5wasm.ready;
  const name = `/built-${crypto.randomUUID()}.h5`;
  const file = new h5wasm.File(name, "w");
  fill(file, root);
  file.close();
  const bytes = FS.readFile(name) as Uint8Array<ArrayBuffer>;
  FS.unlink(name);
  return bytes;
}

/** A vector of float32. */
export function vector(...values: number[]): BuiltDataset {
  return { dims: [values.length], values };
}
