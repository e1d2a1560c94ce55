import { assertEquals, assertThrows } from "@std/assert";
import * as h5wasm from "h5wasm";
import { FormatError } from "../../errors.ts";
import { buildHdf5, vector } from "../testing/hdf5_builder.ts";
import { type Hdf5Dataset, type Hdf5Group, openHdf5 } from "./file.ts";

async function withFile<T>(
  bytes: Uint8Array,
  use: (root: Hdf5Group) => T,
): Promise<T> {
  const file = await openHdf5(bytes);
  try {
    return use(file.root);
  } finally {
    file.close();
  }
}

function dataset(group: Hdf5Group, path: string): Hdf5Dataset {
  const member = group.get(path);
  if (member?.kind !== "dataset") throw new Error(`${path} is no dataset`);
  return member;
}

Deno.test("openHdf5() shows groups, attributes and datasets", async () => {
  const bytes = await buildHdf5({
    attributes: { one: "text", several: ["a", "bcd"], none: [] },
    members: {
      "group/inner": vector(1, 2),
      group64: {
        members: { x: { dims: [2, 1], values: [1, 2], dtype: "<d" } },
      },
    },
  });
  await withFile(bytes, (root) => {
    assertEquals(root.keys().toSorted(), ["group", "group64"]);
    assertEquals(root.strings("one"), ["text"]);
    assertEquals(root.strings("several"), ["a", "bcd"]);
    assertEquals(root.strings("none"), []);
    assertEquals(root.strings("missing"), undefined);
    assertEquals(root.get("missing"), undefined);
    assertEquals(root.get("group/missing"), undefined);
    const inner = dataset(root, "group/inner");
    assertEquals(inner.path, "/group/inner");
    assertEquals(inner.type, "float32");
    assertEquals(inner.byteLength, 8);
    assertEquals(inner.read(), {
      type: "float32",
      dims: [2],
      data: new Float32Array([1, 2]),
    });
    assertEquals(dataset(root, "group64/x").read(), {
      type: "float64",
      dims: [2, 1],
      data: new Float64Array([1, 2]),
    });
  });
});

Deno.test("integers are described and not read", async () => {
  const bytes = await buildHdf5({
    members: {
      i: { dims: [1], values: [1], dtype: "<i" },
      u: { dims: [1], values: [1], dtype: "<B" },
    },
  });
  await withFile(bytes, (root) => {
    assertEquals(dataset(root, "i").type, "int32");
    assertEquals(dataset(root, "u").type, "uint8");
    assertThrows(
      () => dataset(root, "i").read(),
      FormatError,
      "Cannot read /i: expected float elements, found int32",
    );
  });
});

Deno.test("links out of the file are not followed", async () => {
  const { FS } = await h5wasm.ready;
  const file = new h5wasm.File("/links.h5", "w");
  file.create_external_link("/etc/passwd", "/x", "external");
  file.create_soft_link("/nowhere", "broken");
  file.create_dataset({ name: "there", data: new Float32Array([1]) });
  file.create_soft_link("/there", "soft");
  file.close();
  const bytes = FS.readFile("/links.h5") as Uint8Array;
  FS.unlink("/links.h5");
  await withFile(bytes, (root) => {
    assertEquals(root.get("external"), undefined);
    assertEquals(root.get("broken"), undefined);
    assertEquals(root.get("soft")?.kind, "dataset");
  });
});

Deno.test("a dataset that declares far more than the file has is refused", async () => {
  const { FS } = await h5wasm.ready;
  const file = new h5wasm.File("/bomb.h5", "w");
  const made = file.create_dataset({
    name: "bomb",
    data: new Float32Array(1),
    shape: [1],
    maxshape: [null],
    chunks: [1024],
    compression: 9,
  });
  made.resize([2 ** 28]);
  file.close();
  const bytes = FS.readFile("/bomb.h5") as Uint8Array;
  FS.unlink("/bomb.h5");
  await withFile(bytes, (root) => {
    const bomb = dataset(root, "bomb");
    assertEquals(bomb.byteLength, 2 ** 30);
    assertThrows(
      () => bomb.read(),
      FormatError,
      "Cannot read /bomb: it declares 1073741824 bytes, in a file of",
    );
  });
});
