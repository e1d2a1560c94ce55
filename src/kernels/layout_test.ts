import { assertEquals } from "@std/assert";
import * as fc from "fast-check";
import { forEachBlock, layoutOf } from "./layout.ts";
import { channelOfEach } from "./testing/oracle.ts";

Deno.test("layoutOf() merges neighbours and drops extents of 1", () => {
  const cases: [number[], number[], number[]][] = [
    [[8, 64, 56, 56], [1], [8, 64, 3136]],
    [[8, 56, 56, 64], [3], [25088, 64, 1]],
    [[5], [0], [1, 5, 1]],
    [[5, 1], [1], [5, 1, 1]],
    [[2, 3, 4, 5], [1, 2], [2, 12, 5]],
    [[2, 3, 4, 5], [1, 3], [2, 3, 4, 5, 1]],
    [[2, 3, 4, 5], [0, 2], [1, 2, 3, 4, 5]],
    [[2, 3, 1, 5], [1, 3], [2, 15, 1]],
    [[1, 1], [0], [1, 1, 1]],
    [[2, 3], [], [6, 1, 1]],
  ];
  for (const [dims, axes, extents] of cases) {
    assertEquals(layoutOf(dims, axes).extents, extents, `[${dims}] / ${axes}`);
  }
});

Deno.test("layoutOf() counts channels and elements per channel", () => {
  assertEquals(layoutOf([2, 3, 4], [0, 2]).channels, 8);
  assertEquals(layoutOf([2, 3, 4], [0, 2]).reduced, 3);
  assertEquals(layoutOf([0, 3], [1]).reduced, 0);
});

Deno.test("forEachBlock() visits every element once, with its channel", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.boolean()),
      (dims, flags) => {
        const axes = dims.map((_, d) => d).filter(() => flags.next().value);
        const actual: number[] = [];
        forEachBlock(
          layoutOf(dims, axes),
          (element, parameter, { outer, channels, inner }) => {
            assertEquals(element, actual.length);
            for (let o = 0; o < outer; o++) {
              for (let c = 0; c < channels; c++) {
                for (let i = 0; i < inner; i++) actual.push(parameter + c);
              }
            }
          },
        );
        assertEquals(actual, [...channelOfEach(dims, axes)]);
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("forEachBlock() visits nothing of an empty tensor", () => {
  for (const dims of [[0], [0, 3], [3, 0], [2, 0, 3, 4]]) {
    for (const axes of [[0], [1], [1, 3]]) {
      forEachBlock(layoutOf(dims, axes), () => {
        throw new Error("visited");
      });
    }
  }
});
