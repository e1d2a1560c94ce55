import { assert, assertEquals } from "@std/assert";
import * as fc from "fast-check";
import type { Block } from "./layout.ts";
import { forEachPart, INDEX } from "./parts.ts";

/** The parameter of each element, in order. */
function parametersOf({ outer, channels, inner }: Block): number[] {
  return Array.from(
    { length: outer * channels * inner },
    (_, i) => Math.floor(i / inner) % channels,
  );
}

Deno.test("parts cover a block in order, with its parameters", () => {
  const extent = fc.integer({ min: 1, max: 9 });
  fc.assert(
    fc.property(
      fc.record({ outer: extent, channels: extent, inner: extent }),
      fc.integer({ min: 1, max: 100 }),
      (block, limit) => {
        const parameters: number[] = [];
        forEachPart(block, limit, (element, parameter, part) => {
          assertEquals(element, parameters.length);
          const ofPart = parametersOf(part);
          assert(ofPart.length <= limit);
          parameters.push(...ofPart.map((p) => parameter + p));
        });
        assertEquals(parameters, parametersOf(block));
      },
    ),
  );
});

Deno.test("blocks beyond an index are cut in few parts", () => {
  for (
    const block of [
      { outer: 3, channels: 2 ** 15, inner: 2 ** 16 },
      { outer: 1, channels: 2 ** 32, inner: 1 },
      { outer: 1, channels: 1, inner: 2 ** 32 + 1 },
      { outer: 2 ** 31, channels: 3, inner: 1 },
    ]
  ) {
    let parts = 0;
    let elements = 0;
    forEachPart(block, INDEX, (element, _parameter, part) => {
      const count = part.outer * part.channels * part.inner;
      assertEquals(element, elements);
      assert(count <= INDEX);
      parts++;
      elements += count;
    });
    assertEquals(elements, block.outer * block.channels * block.inner);
    assert(parts <= 8, `${parts}`);
  }
});

Deno.test("loops have the same largest index", () => {
  for (
    const file of [
      "float32_loops.ts",
      "float64_loops.ts",
      "typed_array_inference.ts",
    ]
  ) {
    const source = Deno.readTextFileSync(new URL(file, import.meta.url));
    assertEquals(
      source.match(/^const INDEX = .*$/m)?.[0],
      `const INDEX = 0x${INDEX.toString(16)};`,
      file,
    );
  }
});
