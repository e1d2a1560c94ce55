import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { fixtureUrl } from "../testing/fixtures.ts";
import { isSliceKey, sliceKey } from "./ordered_code.ts";
import { readTable } from "./table.ts";

function hex(text: string): string {
  return [...text].map((char) =>
    char.charCodeAt(0).toString(16).padStart(2, "0")
  ).join(" ");
}

Deno.test("the keys of slices are those that TensorFlow writes", () => {
  const file = "k113_partitioned/model.ckpt.index";
  const index = Deno.readFileSync(fixtureUrl(file, "keras_checkpoints"));
  const keys = [...readTable(index, file).keys()].filter(isSliceKey);
  const expected = ["beta", "gamma"].flatMap((role) =>
    [0, 2, 4].map((start) =>
      sliceKey(`parts/norm/${role}`, [{ start, length: 2 }])
    )
  );
  for (const key of expected) assert(keys.includes(key), hex(key));
  for (const start of [0, 2, 4]) {
    const kernel = [{ start, length: 2 }, { start: 0, length: 7 }];
    assert(keys.includes(sliceKey("parts/hidden/kernel", kernel)));
  }
});

Deno.test("numbers take as many bytes as they need", () => {
  const code = (start: number) =>
    hex(sliceKey("", [{ start, length: undefined }])).slice(
      "00 00 01 01 01 ".length,
    );
  assertEquals(code(0), "80 7f");
  assertEquals(code(63), "bf 7f");
  assertEquals(code(64), "c0 40 7f");
  assertEquals(code(8191), "df ff 7f");
  assertEquals(code(8192), "e0 20 00 7f");
  assertEquals(code(2 ** 48), "ff 01 00 00 00 00 00 00 7f");
});

Deno.test("a name's zeros and ones cannot be taken for its end", () => {
  assertEquals(
    hex(sliceKey("a\x00\xffb", [])),
    "00 61 00 ff ff 00 62 00 01 00",
  );
});

Deno.test("keys sort as what they stand for", () => {
  const starts = fc.integer({ min: -(2 ** 52), max: 2 ** 52 });
  fc.assert(fc.property(starts, starts, (a, b) => {
    const [first, second] = [a, b].map((start) =>
      sliceKey("x", [{ start, length: 1 }])
    );
    assertEquals(first! < second!, a < b);
  }));
});
