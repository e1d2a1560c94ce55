// What real Keras makes of these arguments is in keras_version_test.ts.

import { assertEquals, assertNotStrictEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import {
  type Axis,
  checkAxis,
  type FusedConditions,
  resolveAxes,
  resolveFused,
  whyNotFused,
} from "./axis.ts";
import { KERAS_VERSIONS } from "./keras_version.ts";

Deno.test("checkAxis takes integers and, up to Keras 2, lists of them", () => {
  const list = [1, -1];
  for (const version of KERAS_VERSIONS) {
    assertEquals(checkAxis(-1, version), -1);
    if (version === "3") {
      assertThrows(
        () => checkAxis(list, version),
        OptionError,
        "Cannot use axis [1, -1]: Keras 3 takes one integer",
      );
    } else {
      const checked = checkAxis(list, version);
      assertEquals(checked, list);
      assertNotStrictEquals(checked, list);
    }
    for (const bad of [1.5, NaN, "1", true, null, {}, [1.5], ["1"], [[1]]]) {
      assertThrows(
        () => checkAxis(bad, version),
        OptionError,
        "expected an integer or a list of integers",
      );
    }
  }
});

Deno.test("resolveAxes counts from the end, sorts, and finds what is wrong", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.integer({ min: -8, max: 8 }), { maxLength: 5 }),
      (rank, axes) => {
        const valid = axes.every((axis) => axis >= -rank && axis < rank);
        const resolved = axes.map((axis) => (axis + rank) % rank);
        const distinct = new Set(resolved).size === axes.length;
        if (!valid || !distinct) {
          assertThrows(
            () => resolveAxes(axes, rank, "bn"),
            ShapeError,
            valid ? "duplicate axis" : "invalid axis",
          );
          return;
        }
        const expected = Array.from({ length: rank }, (_, d) => d)
          .filter((d) => resolved.includes(d));
        const given = [...axes];
        assertEquals(resolveAxes(axes, rank, "bn"), expected);
        assertEquals(axes, given);
        if (axes.length === 1) {
          assertEquals(resolveAxes(axes[0]!, rank, "bn"), expected);
        }
      },
    ),
  );
});

Deno.test("resolveAxes names the axis as it was given", () => {
  assertThrows(
    () => resolveAxes([1, -5], 4, "bn"),
    ShapeError,
    'Cannot build layer "bn": invalid axis -5 for an input of rank 4, expected -4 to 3',
  );
  assertThrows(
    () => resolveAxes([3, -1], 4, "bn"),
    ShapeError,
    "duplicate axis in [3, -1] for an input of rank 4",
  );
});

const FUSABLE: FusedConditions = {
  axis: 3,
  renorm: false,
  virtualBatchSize: null,
  hasAdjustment: false,
  compute: "float32",
  kerasVersion: "2.4",
};

Deno.test("whyNotFused gives the first reason in Keras' order", () => {
  const obstacles: [Partial<FusedConditions>, string][] = [
    [{ renorm: true }, "renorm is on"],
    [{ axis: [1, 3] }, "axis is [1, 3]"],
    [{ virtualBatchSize: 2 }, "virtualBatchSize is given"],
    [{ hasAdjustment: true }, "adjustment is given"],
    [{ compute: "float64" }, "the layer computes in float64"],
  ];
  assertEquals(whyNotFused(FUSABLE), undefined);
  for (let i = 0; i < obstacles.length; i++) {
    // This one and all later ones.
    const changes = Object.assign({}, ...obstacles.slice(i).map(([c]) => c));
    const reason = whyNotFused({ ...FUSABLE, ...changes });
    assertEquals(reason?.startsWith(obstacles[i]![1]), true, reason);
  }
  assertEquals(
    whyNotFused({ ...FUSABLE, kerasVersion: "3" }),
    "Keras 3 has no fused path",
  );
});

Deno.test("whyNotFused knows each release's axes, before they are resolved", () => {
  const candidates = Array.from({ length: 13 }, (_, i) => i - 6);
  const accepted = (kerasVersion: FusedConditions["kerasVersion"]) =>
    candidates.filter((axis) =>
      whyNotFused({ ...FUSABLE, kerasVersion, axis }) === undefined &&
      whyNotFused({ ...FUSABLE, kerasVersion, axis: [axis] }) === undefined
    );
  assertEquals(accepted("2.4"), [-3, -1, 1, 3]);
  assertEquals(accepted("2.6"), [-4, -3, -1, 1, 3, 4]);
  assertEquals(accepted("2.12"), [-4, -3, -1, 1, 3, 4]);
  assertEquals(accepted("3"), []);
});

Deno.test("whyNotFused fails on no axes, unless renorm decides before", () => {
  assertThrows(
    () => whyNotFused({ ...FUSABLE, axis: [] }),
    OptionError,
    "empty list of axes",
  );
  assertEquals(
    whyNotFused({ ...FUSABLE, axis: [], renorm: true }),
    "renorm is on",
  );
});

Deno.test("resolveFused follows rank, axis and release", () => {
  const resolve = (
    requested: boolean | null,
    axes: number[],
    rank: number,
    version: FusedConditions["kerasVersion"],
  ) => {
    try {
      return resolveFused(requested, axes, rank, version, "bn");
    } catch (error) {
      return (error as Error).name;
    }
  };
  const table: [boolean | null, number[], number, ...unknown[]][] = [
    // requested, axes, rank; 2.4, 2.6, 2.12, 3
    [null, [3], 4, true, true, true, false],
    [null, [1], 4, true, true, true, false],
    [true, [1], 4, true, true, true, false],
    [false, [1], 4, false, false, false, false],
    [null, [4], 5, false, true, true, false],
    [null, [1], 5, false, true, true, false],
    [null, [2], 5, false, false, false, false],
    [true, [2], 5, "ShapeError", false, false, false],
    [true, [1], 5, "ShapeError", true, true, false],
    [null, [1], 3, false, false, false, false],
    [true, [1], 3, "ShapeError", "ShapeError", "ShapeError", false],
    [true, [1], 6, "ShapeError", "ShapeError", "ShapeError", false],
    // -4 on rank 4, a fused axis to the constructor of 2.6.
    [null, [0], 4, "ShapeError", "ShapeError", "ShapeError", false],
    [false, [0], 4, false, false, false, false],
  ];
  for (const [requested, axes, rank, ...expected] of table) {
    assertEquals(
      KERAS_VERSIONS.map((version) => resolve(requested, axes, rank, version)),
      expected,
      `fused ${requested} over ${axes satisfies Axis} of rank ${rank}`,
    );
  }
});
