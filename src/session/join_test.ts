// What is joined, and what must not be.

import { assertEquals } from "@std/assert";
import { resolveKernels } from "../kernels/dispatch.ts";
import { viewModel } from "../onnx/view.ts";
import type { Tensor } from "../tensor.ts";
import { maxUlp } from "../ulp.ts";
import { joinAffine } from "./join_affine.ts";
import { affineRun } from "./ops/affine.ts";
import { loadProgram } from "./program.ts";
import { createSession } from "./session.ts";
import { specialize } from "./specialize.ts";
import {
  modelBytes,
  type TestModel,
  type TestNode,
  values,
} from "./testing/models.ts";
import { runOnnxruntime } from "./testing/onnxruntime.ts";

const DIMS = [2, 3, 2, 4];
const X = values(
  "float32",
  DIMS,
  Array.from({ length: 48 }, (_, i) => Math.sin(i) * 3),
);
const BACK = [0, 2, 3, 1];
const FORTH = [0, 3, 1, 2];

function vectors(channels: number): TestModel["initializers"] {
  const vector = (seed: number) =>
    values(
      "float32",
      [channels],
      Array.from({ length: channels }, (_, i) => 1.5 + Math.sin(i + seed)),
    );
  return { s: vector(1), b: vector(2), m: vector(3), v: vector(4) };
}

const VECTORS = ["s", "b", "m", "v"];

/** Transpose, what is between, Transpose. */
function sandwich(
  between: readonly TestNode[],
  last: string,
  { back = BACK, more = [], outputs = ["y"], channels = 4 }: {
    back?: readonly number[];
    more?: readonly TestNode[];
    outputs?: readonly string[];
    channels?: number;
  } = {},
): TestModel {
  return {
    nodes: [
      {
        op: "Transpose",
        inputs: ["x"],
        outputs: ["t"],
        attributes: { perm: FORTH },
      },
      ...between,
      {
        op: "Transpose",
        inputs: [last],
        outputs: ["y"],
        attributes: { perm: back },
      },
      ...more,
    ],
    inputs: { x: { type: "float32", dims: DIMS } },
    outputs,
    initializers: vectors(channels)!,
  };
}

const NORMALIZE: TestNode = {
  op: "BatchNormalization",
  inputs: ["t", ...VECTORS],
  outputs: ["n"],
};
const RELU: TestNode = { op: "Relu", inputs: ["n"], outputs: ["r"] };

const CASES: readonly [string, TestModel, transposes: number][] = [
  ["between two that undo each other", sandwich([NORMALIZE], "n"), 0],
  ["with an activation", sandwich([NORMALIZE, RELU], "r"), 0],
  [
    "with an activation that has bounds",
    sandwich([NORMALIZE, {
      op: "Clip",
      inputs: ["n", "", "half"],
      outputs: ["r"],
    }], "r"),
    0,
  ],
  [
    "with another order at the end",
    sandwich([NORMALIZE], "n", { back: [0, 1, 3, 2] }),
    2,
  ],
  [
    "whose first order is used twice",
    sandwich([NORMALIZE], "n", {
      more: [{ op: "Neg", inputs: ["t"], outputs: ["z"] }],
      outputs: ["y", "z"],
    }),
    2,
  ],
  [
    "whose middle is an output",
    sandwich([NORMALIZE], "n", { outputs: ["y", "n"] }),
    2,
  ],
  [
    "with an operator that knows of axes",
    sandwich([NORMALIZE, {
      op: "Add",
      inputs: ["n", "row"],
      outputs: ["a"],
    }], "a"),
    2,
  ],
  [
    "without BatchNormalization",
    sandwich([{ ...RELU, inputs: ["t"] }], "r"),
    2,
  ],
];

for (const [what, model, transposes] of CASES) {
  Deno.test(`Transposes ${what}`, async () => {
    const row = values("float32", [2], [1, 2]);
    const half = values("float32", [], [0.5]);
    const bytes = modelBytes({
      ...model,
      initializers: { ...model.initializers, row, half },
    });
    const program = loadProgram(
      viewModel(new Uint8Array(bytes)),
      undefined,
      resolveKernels,
    );
    const left = program.nodes.filter(({ label }) =>
      label.includes("Transpose")
    );
    assertEquals(left.length, transposes);
    await using session = await createSession(bytes);
    const ours = await session.run({ x: X });
    const theirs = await runOnnxruntime(bytes, { x: X });
    for (const [name, expected] of Object.entries(theirs)) {
      assertEquals(maxUlp(ours[name] as Tensor, expected as Tensor), 0);
    }
  });
}

Deno.test("a product and a sum of constants are one pass with the same bits", async () => {
  // In every order, and with shapes that are not alike.
  const shapes = [[4], [1, 3, 1, 1], [], [2, 1, 1, 1], [3, 1, 4]];
  for (const first of shapes) {
    for (const second of shapes) {
      for (const op of ["Add", "Sub"]) {
        for (const swap of [false, true]) {
          const constant = (dims: readonly number[], seed: number) => {
            const count = dims.reduce((product, extent) => product * extent, 1);
            return values(
              "float32",
              dims,
              Array.from({ length: count }, (_, i) => Math.cos(i * 5 + seed)),
            );
          };
          const order = (value: string, other: string) =>
            swap ? [other, value] : [value, other];
          const bytes = modelBytes({
            nodes: [
              { op: "Mul", inputs: order("x", "a"), outputs: ["p"] },
              { op, inputs: order("p", "c"), outputs: ["y"] },
              { op: "Mul", inputs: order("y", "a"), outputs: ["z"] },
            ],
            inputs: { x: { type: "float32", dims: DIMS } },
            outputs: ["z", "y"],
            initializers: { a: constant(first, 1), c: constant(second, 2) },
          });
          await using session = await createSession(bytes);
          const ours = await session.run({ x: X });
          const theirs = await runOnnxruntime(bytes, { x: X });
          for (const name of ["y", "z"]) {
            assertEquals(
              maxUlp(ours[name] as Tensor, theirs[name] as Tensor),
              0,
            );
          }
        }
      }
    }
  }
});

const BOUNDED: readonly [string, readonly TestNode[], steps: number][] = [
  ["Relu", [{ op: "Relu", inputs: ["n"], outputs: ["y"] }], 1],
  ["Clip to constants", [
    { op: "Clip", inputs: ["n", "zero", "half"], outputs: ["y"] },
  ], 1],
  ["Clip to one constant", [
    { op: "Clip", inputs: ["n", "", "half"], outputs: ["y"] },
  ], 1],
  ["Clip to what is fed", [
    { op: "Clip", inputs: ["n", "low"], outputs: ["y"] },
  ], 2],
  ["Relu, and Clip", [
    { op: "Relu", inputs: ["n"], outputs: ["r"] },
    { op: "Clip", inputs: ["r", "", "half"], outputs: ["y"] },
  ], 2],
  ["Relu, and a sum", [
    { op: "Relu", inputs: ["n"], outputs: ["r"] },
    { op: "Add", inputs: ["r", "half"], outputs: ["y"] },
  ], 2],
  ["Relu, and used twice", [
    { op: "Relu", inputs: ["n"], outputs: ["r"] },
    { op: "Sub", inputs: ["r", "n"], outputs: ["y"] },
  ], 3],
];

for (const [what, nodes, count] of BOUNDED) {
  Deno.test(`BatchNormalization and ${what}, in ${count}`, async () => {
    const bytes = modelBytes({
      nodes: [{ ...NORMALIZE, inputs: ["x", ...VECTORS] }, ...nodes],
      inputs: {
        x: { type: "float32", dims: DIMS },
        low: { type: "float32", dims: [] },
      },
      outputs: ["y"],
      initializers: {
        ...vectors(3),
        zero: values("float32", [], [0]),
        half: values("float32", [], [0.5]),
      },
    });
    const program = loadProgram(
      viewModel(new Uint8Array(bytes)),
      undefined,
      resolveKernels,
    );
    const feeds = new Map(
      program.inputs.map(({ id, name }) => [
        id,
        { type: "float32" as const, dims: name === "x" ? DIMS : [] },
      ]),
    );
    const { steps } = specialize(program, feeds);
    const uses = steps.flatMap(({ inputs }) => inputs);
    const joined = joinAffine(
      steps,
      (id) => uses.filter((each) => each === id).length === 1,
      (affine, type) => affineRun(resolveKernels, affine, type),
    );
    assertEquals(joined.length, count);
    await using session = await createSession(bytes);
    const given = { x: X, low: values("float32", [], [-0.25]) };
    const ours = await session.run(given);
    const theirs = await runOnnxruntime(bytes, given);
    assertEquals(maxUlp(ours.y as Tensor, theirs.y as Tensor), 0);
  });
}
