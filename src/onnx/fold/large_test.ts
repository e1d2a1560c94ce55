// Models of so many nodes that time or memory of their square would not do.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { tensor } from "../../tensor.ts";
import { fold } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  makeModel,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random } from "../testing/layers.ts";

const SHARED = bnConstants("shared", 1, random(1));
const W = { w: tensor([2], [1, 1]) };

/** A BatchNormalization with the constants that all have. */
function sharedNode(input: string, output: string): NodeSpec {
  const node = bnNode(input, output);
  return { ...node, in: [input, ...Object.keys(SHARED)] };
}

/** `h0` to `h<count>`, a node between any two. */
function chain(
  count: number,
  node: (input: string, output: string) => readonly NodeSpec[],
): NodeSpec[] {
  return Array.from(
    { length: count },
    (_, i) => node(`h${i}`, `h${i + 1}`),
  ).flat();
}

function model(
  nodes: readonly NodeSpec[],
  input: string,
  output: string,
): Uint8Array {
  return makeModel({
    nodes,
    constants: { ...SHARED, ...W },
    inputs: { [input]: ["n", 1] },
    outputs: { [output]: ["n", 1] },
  });
}

Deno.test("fold: thousands of MatMuls, each with a BatchNormalization", () => {
  const count = 10_000;
  const nodes = chain(count, (input, output) => [
    { op: "MatMul", in: [input, "w"], out: [`${output}_z`] },
    sharedNode(`${output}_z`, output),
  ]);
  // The rank is told at the ends only.
  const { folded, kept } = fold(model(nodes, "h0", `h${count}`));
  assertEquals([folded.length, kept.length], [count, 0]);
});

Deno.test("fold: thousands of BatchNormalizations without an operator", () => {
  const count = 20_000;
  const { folded, kept } = fold(
    model(chain(count, (a, b) => [sharedNode(a, b)]), "h0", `h${count}`),
  );
  assertEquals([folded.length, kept.length], [0, count]);
  assertEquals(
    kept[1]!.reason,
    'its input comes from BatchNormalization "n_h1"; its output goes to BatchNormalization "n_h3"',
  );
});

Deno.test("fold: one value that thousands normalize", () => {
  const nodes = Array.from(
    { length: 20_000 },
    (_, i) => sharedNode("z", `y${i}`),
  );
  const { kept } = fold(
    model([{ op: "MatMul", in: ["x", "w"], out: ["z"] }, ...nodes], "x", "y0"),
  );
  assertEquals(kept.length, 20_000);
  assertMatch(kept[9]!.reason, /^branching: 20000 inputs of nodes use "z"/);
});

Deno.test("fold: nodes that make way for others, in any order of the file", () => {
  // Each can go only when the next one has, or when the one before has.
  const nodes = chain(900, (a, b) => [sharedNode(a, b)]);
  const multiply = (input: string, output: string): NodeSpec => ({
    op: "MatMul",
    in: [input, "w"],
    out: [output],
  });
  for (const order of [nodes, nodes.toReversed()]) {
    for (
      const all of [[...order, multiply("h900", "y")], [
        multiply("x", "h0"),
        ...order,
      ]]
    ) {
      const [first, last] = all[0]!.op === "MatMul"
        ? ["x", "h900"]
        : ["h0", "y"];
      const { folded } = fold(model(all, first!, last!));
      assertEquals(folded.length, 900);
    }
  }
});

Deno.test("fold: no operator is more than a thousand nodes away", () => {
  const nodes = chain(1100, (a, b) => [{ op: "Identity", in: [a], out: [b] }]);
  const withBn = (count: number): Uint8Array =>
    model(
      [
        { op: "MatMul", in: ["x", "w"], out: ["h0"] },
        ...nodes.slice(0, count),
        sharedNode(`h${count}`, "y"),
      ],
      "x",
      "y",
    );
  const { folded } = fold(withBn(1000));
  assertEquals(folded[0]!.through.length, 1000);
  const { kept } = fold(withBn(1001));
  assert(kept[0]!.reason.startsWith("an operator would be more than 1000"));
});
