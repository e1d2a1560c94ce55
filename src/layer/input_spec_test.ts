import { assertEquals, assertThrows } from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { checkAgainstSpec, checkTensor } from "./input_spec.ts";

Deno.test("checkTensor takes every well-formed tensor", () => {
  const good: Tensor[] = [
    { type: "float32", dims: [2, 3], data: new Float32Array(6) },
    { type: "float64", dims: [], data: new Float64Array(1) },
    { type: "float16", dims: [2], data: new Uint16Array(2) },
    { type: "bfloat16", dims: [0, 7], data: new Uint16Array(0) },
  ];
  for (const tensor of good) checkTensor(tensor, "x");
});

Deno.test("checkTensor says what is wrong", () => {
  const data = new Float32Array(2);
  const wrong: [unknown, new (message: string) => Error, string][] = [
    [undefined, OptionError, "Cannot use x: expected a tensor of type float32"],
    [null, OptionError, "expected a tensor"],
    [5, OptionError, "got number"],
    [[1, 2], OptionError, "got object"],
    [{ type: "int8", dims: [2], data }, OptionError, 'got type "int8"'],
    [{ type: "toString", dims: [2], data }, OptionError, 'got type "toString"'],
    [
      { type: "float64", dims: [2], data },
      OptionError,
      "a float64 tensor cannot have its data in Float32Array",
    ],
    [{ type: "float32", dims: [2] }, OptionError, "in nothing"],
    [{ type: "float32", dims: [2], data: [1, 2] }, OptionError, "in Array"],
    [
      { type: "float32", dims: [3], data },
      ShapeError,
      "Cannot use x of shape [3]: expected 3 values, got 2",
    ],
    [{ type: "float32", dims: [-2], data }, ShapeError, "got -2"],
    [{ type: "float32", dims: [1.5], data }, ShapeError, "got 1.5"],
  ];
  for (const [value, type, message] of wrong) {
    assertThrows(() => checkTensor(value as Tensor, "x"), type, message);
  }
});

Deno.test("checkAgainstSpec compares the rank and the kept extents only", () => {
  const spec = { rank: 3, axes: [0, 2], extents: [4, 5] };
  for (const shape of [[4, 1, 5], [4, 0, 5], [4, null, 5]]) {
    assertEquals(checkAgainstSpec("bn", spec, shape), undefined);
  }
  const wrong: [(number | null)[], string][] = [
    [[4, 5], "expected rank 3, got rank 2 with shape [4, 5]"],
    [[4, 1, 5, 1], "expected rank 3, got rank 4"],
    [[3, 1, 5], "expected axis 0 to have extent 4, got shape [3, 1, 5]"],
    [[4, null, 6], "expected axis 2 to have extent 5, got shape [4, ?, 6]"],
    [[4, 1, null], "expected axis 2 to have extent 5, got shape [4, 1, ?]"],
  ];
  for (const [shape, message] of wrong) {
    assertThrows(
      () => checkAgainstSpec("bn", spec, shape),
      ShapeError,
      `Input of layer "bn" is incompatible with the layer: ${message}`,
    );
  }
});
