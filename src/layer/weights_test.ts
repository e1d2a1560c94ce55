import { assertEquals, assertNotStrictEquals, assertThrows } from "@std/assert";
import * as fc from "fast-check";
import { ShapeError } from "../errors.ts";
import { tensor } from "../tensor.ts";
import { resolveOptions } from "./resolve_options.ts";
import {
  adoptWeights,
  checkWeights,
  initialWeights,
  parameterShape,
  weightNames,
} from "./weights.ts";

Deno.test("weightNames are in Keras' order", () => {
  const names = (scale: boolean, center: boolean, renorm: boolean) =>
    weightNames({ scale, center, renorm }).join(" ");
  const moving = "moving_mean moving_variance";
  const renorm = "moving_stddev renorm_mean renorm_stddev";
  assertEquals(names(true, true, false), `gamma beta ${moving}`);
  assertEquals(names(true, false, false), `gamma ${moving}`);
  assertEquals(names(false, true, false), `beta ${moving}`);
  assertEquals(names(false, false, false), moving);
  assertEquals(names(true, true, true), `gamma beta ${moving} ${renorm}`);
  assertEquals(names(false, false, true), `${moving} ${renorm}`);
});

Deno.test("parameterShape: a vector, or full rank with ones", () => {
  assertEquals(parameterShape([null, 4, null, 3], [3], false), [3]);
  assertEquals(parameterShape([4], [0], false), [4]);
  assertEquals(parameterShape([null, 4, null, 3], [1, 3], false), [1, 4, 1, 3]);
  assertEquals(parameterShape([null, 4], [], false), [1, 1]);
  // Ghost batches insert a dimension, for one axis too.
  assertEquals(parameterShape([null, 4], [1], true), [1, 1, 4]);
  assertEquals(
    parameterShape([null, 2, null, 3, 4], [1, 4], true),
    [1, 1, 2, 1, 1, 4],
  );
});

Deno.test("parameterShape has one element per channel", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ extent: fc.nat(9), kept: fc.boolean() }),
        { minLength: 1, maxLength: 6 },
      ),
      fc.boolean(),
      (dims, virtualBatch) => {
        const axes = dims.flatMap(({ kept }, d) => kept ? [d] : []);
        const shape = parameterShape(
          dims.map(({ extent, kept }) => kept ? extent : null),
          axes,
          virtualBatch,
        );
        const channels = axes.reduce((n, axis) => n * dims[axis]!.extent, 1);
        assertEquals(shape.reduce((a, b) => a * b, 1), channels);
        const isVector = axes.length === 1 && !virtualBatch;
        assertEquals(
          shape.length,
          isVector ? 1 : dims.length + Number(virtualBatch),
        );
      },
    ),
  );
});

Deno.test("initial weights have the policy's type", () => {
  for (
    const [dtype, kerasVersion, type] of [
      ["float16", "2.4", "float32"],
      ["float16", "3", "float16"],
      ["mixed_bfloat16", "3", "float32"],
      ["float64", "2.12", "float64"],
    ] as const
  ) {
    const options = resolveOptions({ dtype, kerasVersion, renorm: true });
    const weights = initialWeights(options, [2]);
    assertEquals([...weights.keys()], weightNames(options));
    for (const weight of weights.values()) {
      assertEquals([weight.type, weight.dims], [type, [2]]);
    }
    assertEquals(weights.get("gamma"), tensor([1, 1], [2], type));
    assertEquals(weights.get("renorm_mean"), tensor([0, 0], [2], type));
  }
});

Deno.test("the root of the initial variance is rounded once", () => {
  const options = resolveOptions({
    renorm: true,
    movingVarianceInitializer: { class_name: "Constant", config: { value: 2 } },
  });
  const weights = initialWeights(options, [1]);
  for (const name of ["moving_stddev", "renorm_stddev"] as const) {
    assertEquals(weights.get(name)!.data[0], Math.fround(Math.SQRT2));
  }
});

Deno.test("an initializer that cannot fill the shape fails", () => {
  const options = resolveOptions({ gammaInitializer: "orthogonal" });
  assertThrows(() => initialWeights(options, [3]), ShapeError);
});

Deno.test("adopted weights are copies of the variables' type", () => {
  const options = resolveOptions({ center: false, scale: false });
  const given = [tensor([1, 2], [2]), tensor([3, 4], [2], "float64")];
  const adopted = adoptWeights("bn", options, given, [2]);
  assertEquals([...adopted.keys()], ["moving_mean", "moving_variance"]);
  assertEquals(adopted.get("moving_mean"), given[0]);
  assertNotStrictEquals(adopted.get("moving_mean")!.data, given[0]!.data);
  assertNotStrictEquals(adopted.get("moving_mean")!.dims, given[0]!.dims);
  assertEquals(adopted.get("moving_variance"), tensor([3, 4], [2]));
});

Deno.test("checkWeights compares counts, names and shapes", () => {
  const flags = { scale: false, center: true, renorm: false };
  const vector = tensor([1, 2], [2]);
  const names = weightNames(flags);
  assertEquals(checkWeights("bn", flags, [vector, vector, vector], [2]), names);
  assertEquals(
    checkWeights("bn", flags, [vector, vector, vector], undefined),
    names,
  );
  assertThrows(
    () => checkWeights("bn", flags, [vector], [2]),
    ShapeError,
    'Cannot set the weights of layer "bn": expected 3 (beta, moving_mean, moving_variance), got 1',
  );
  assertThrows(
    () => checkWeights("bn", flags, [vector, vector, vector], [1, 2]),
    ShapeError,
    'Cannot set beta of layer "bn": expected shape [1, 2], got [2] with 2 values',
  );
  // Before the build, they must agree with each other.
  assertThrows(
    () =>
      checkWeights("bn", flags, [vector, tensor([1], [1]), vector], undefined),
    ShapeError,
    'Cannot set moving_mean of layer "bn": expected shape [2], got [1]',
  );
});
