import { assert, assertEquals, assertRejects } from "@std/assert";
import * as fc from "fast-check";
import { strToU8, zipSync } from "fflate";
import { FormatError } from "../../errors.ts";
import { tensor } from "../../tensor.ts";
import { BytesFile } from "../files/source_file.ts";
import { loadKeras } from "../load.ts";
import { arraysBytes } from "../testing/arrays.ts";
import { openZipFile } from "../zip/zip.ts";
import { encodeNpy } from "./npy_write.ts";
import { readNpzArrays } from "./npz_arrays.ts";

Deno.test("of members that are not used, only the header is read", async () => {
  const damaged = encodeNpy(tensor(new Float32Array(5000), [5000])).slice();
  const members: Record<string, Uint8Array> = { "kernel.npy": damaged };
  for (const name of ["beta", "gamma", "moving_mean", "moving_variance"]) {
    members[`bn/${name}.npy`] = encodeNpy(tensor([1, 2], [2]));
  }
  const zip = zipSync(members, { level: 0 });
  // The kernel's elements do not have its checksum any more.
  zip[2000]! ^= 1;
  const file = new BytesFile("x.npz", zip);
  let bytes = 0;
  const archive = await openZipFile({
    name: "x.npz",
    size: file.size,
    read(offset, length) {
      bytes += length;
      return file.read(offset, length);
    },
  });
  const variables = await readNpzArrays(archive);
  assertEquals(variables.map(({ name, dims }) => [name, dims]), [
    ["kernel", [5000]],
    ["bn/beta", [2]],
    ["bn/gamma", [2]],
    ["bn/moving_mean", [2]],
    ["bn/moving_variance", [2]],
  ]);
  assert(bytes < 3000, String(bytes));
  const { batchNormalizations } = await loadKeras(zip);
  assertEquals([...batchNormalizations.keys()], ["bn"]);
  await assertRejects(
    async () => await variables[0]!.read(),
    FormatError,
    "expected the checksum",
  );
});

Deno.test("a header longer than usual is read as well", async () => {
  const dims = Array.from({ length: 30 }, () => 1);
  const long = encodeNpy(tensor([1], dims));
  assert(long.length > 128 + 4);
  for (const level of [0, 9] as const) {
    const zip = zipSync({ "a.npy": long }, { level });
    const archive = await openZipFile(new BytesFile("x", zip));
    const [variable] = await readNpzArrays(archive);
    assertEquals(await variable!.read(), tensor([1], dims));
  }
});

Deno.test("archives without arrays, or with damaged ones, are refused", async () => {
  for (
    const [members, message] of [
      [
        {},
        "expected a Keras archive with config.json, or NumPy arrays, found nothing",
      ],
      [{ "a.txt": strToU8("x") }, "or NumPy arrays, found a.txt"],
      [{ "a.npy": strToU8("x") }, "Cannot read a.npy: expected a .npy array"],
      [
        { "a.npy": encodeNpy(tensor([1], [1])).subarray(0, 60) },
        "Cannot read a.npy: expected a .npy header, it is truncated",
      ],
    ] as const
  ) {
    const zip = zipSync(members as Record<string, Uint8Array>);
    await assertRejects(() => loadKeras(zip), FormatError, message);
  }
});

Deno.test("an array that declares more than it has is refused before it is made", async () => {
  const header = encodeNpy(tensor([1, 2], [2]));
  const large = header.slice();
  const shape = new TextEncoder().encode("(2222222222,), }");
  large.set(shape, String.fromCharCode(...header).indexOf("(2,)"));
  const members = ["gamma", "beta", "moving_mean", "moving_variance"]
    .map((name) => [`bn/${name}.npy`, large]);
  await assertRejects(
    () => loadKeras(zipSync(Object.fromEntries(members))),
    FormatError,
    "expected 8888888888 bytes for <f4 of shape [2222222222], got 8",
  );
  await assertRejects(
    () => loadKeras(large),
    FormatError,
    "expected 8888888888 bytes for <f4 of shape [2222222222], got 8",
  );
});

Deno.test("damaged files of NumPy give a FormatError or arrays", async () => {
  for (const name of ["positional.npz", "zip64.npz", "rows_fortran_big.npy"]) {
    const whole = arraysBytes(name);
    for (let length = 0; length < whole.length; length += 11) {
      await assertRejects(() => loadKeras(whole.slice(0, length)), FormatError);
    }
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: whole.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (at, flip) => {
          const bytes = whole.slice();
          bytes[at]! ^= flip;
          try {
            await loadKeras(bytes);
          } catch (error) {
            assert(error instanceof FormatError, String(error));
          }
        },
      ),
      { numRuns: 200, seed: 8 },
    );
  }
});
