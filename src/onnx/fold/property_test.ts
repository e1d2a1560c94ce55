import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Tensor } from "../../tensor.ts";
import { assertFolds } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  type ModelSpec,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random, randomTensor } from "../testing/layers.ts";

/** One layer of a chain. */
type Layer =
  | {
    readonly kind: "conv" | "up";
    readonly kernel: 1 | 2;
    readonly groups: 1 | 2;
    readonly pad: 0 | 1;
    readonly bias: boolean;
  }
  | { readonly kind: "dense"; readonly op: "Gemm" | "MatMul" }
  | { readonly kind: "bn" | "relu" | "identity" | "swap" | "add" };

interface Chain {
  /** Of images. */
  readonly layers: readonly Layer[];
  /** Of vectors, behind them. */
  readonly dense: readonly Layer[];
  readonly seed: number;
}

const layer: fc.Arbitrary<Layer> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("bn" as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("conv" as const, "up" as const),
      kernel: fc.constantFrom(1 as const, 2 as const),
      groups: fc.constantFrom(1 as const, 2 as const),
      pad: fc.constantFrom(0 as const, 1 as const),
      bias: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "relu" as const,
        "identity" as const,
        "swap" as const,
        "add" as const,
      ),
    }),
  },
);

const chain: fc.Arbitrary<Chain> = fc.record({
  layers: fc.array(layer, { minLength: 2, maxLength: 6 }),
  dense: fc.array(
    fc.oneof<fc.Arbitrary<Layer>[]>(
      fc.record({ kind: fc.constantFrom("bn" as const, "add" as const) }),
      fc.record({
        kind: fc.constant("dense" as const),
        op: fc.constantFrom("Gemm" as const, "MatMul" as const),
      }),
    ),
    { maxLength: 4 },
  ),
  seed: fc.nat(),
});

/** The model of a chain: 4 channels, and an image of 7 by 6 to begin with. */
function modelOf(
  { layers, dense, seed }: Chain,
): { spec: ModelSpec; next: () => number } {
  const next = random(seed);
  const nodes: NodeSpec[] = [];
  const constants: Record<string, Tensor> = {};
  let value = "x";
  let size = [7, 6];
  const push = (node: Omit<NodeSpec, "in" | "out">, ...inputs: string[]) => {
    const out = `v${nodes.length}`;
    nodes.push({ ...node, in: [value, ...inputs], out: [out] });
    value = out;
  };
  const weight = (name: string, ...dims: number[]): string => {
    const unique = `${name}${nodes.length}`;
    constants[unique] = randomTensor(next, dims, { low: -1, high: 1 });
    return unique;
  };
  const pushBn = (): void => {
    const out = `v${nodes.length}`;
    nodes.push(bnNode(value, out));
    Object.assign(constants, bnConstants(out, 4, next));
    value = out;
  };
  for (const each of layers) {
    if (each.kind === "bn") pushBn();
    else if (each.kind === "relu") push({ op: "Relu" });
    else if (each.kind === "identity") push({ op: "Identity" });
    else if (each.kind === "add") push({ op: "Add" }, weight("a", 4, 1, 1));
    else if (each.kind === "swap") {
      push({ op: "Transpose", attributes: { perm: [0, 1, 3, 2] } });
      size = size.reverse();
    } else if (each.kind === "conv" || each.kind === "up") {
      const { kind, kernel, groups, pad, bias } = each;
      // A padded ConvTranspose crops.
      const grow = (kind === "up" ? -1 : 1) * (2 * pad - (kernel - 1));
      if (size.some((extent) => extent + grow < 1)) continue;
      size = size.map((extent) => extent + grow);
      push(
        {
          op: kind === "conv" ? "Conv" : "ConvTranspose",
          attributes: { group: groups, pads: [pad, pad, pad, pad] },
        },
        weight("w", 4, 4 / groups, kernel, kernel),
        ...bias ? [weight("b", 4)] : [],
      );
    }
  }
  if (dense.length > 0) {
    push({ op: "ReduceMax", attributes: { axes: [2, 3], keepdims: 0 } });
  }
  for (const each of dense) {
    if (each.kind === "bn") pushBn();
    else if (each.kind === "add") push({ op: "Add" }, weight("a", 4));
    else if (each.kind === "dense") push({ op: each.op }, weight("w", 4, 4));
  }
  return {
    spec: {
      nodes,
      constants,
      inputs: { x: ["n", 4, 7, 6] },
      outputs: { [value]: dense.length > 0 ? ["n", 4] : ["n", 4, ...size] },
    },
    next,
  };
}

const LINEAR = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/** Which nodes of a chain are folded, found by another way: from left to right and back. */
function expected({ nodes }: ModelSpec): string[] {
  const folded = new Set<NodeSpec>();
  let isBehind = false;
  for (const node of nodes) {
    const { op } = node;
    if (LINEAR.includes(op)) isBehind = true;
    else if (op === "BatchNormalization") {
      if (isBehind) folded.add(node);
    } else if (!["Identity", "Transpose", "Add"].includes(op)) isBehind = false;
  }
  let isAhead = false;
  for (const node of nodes.toReversed()) {
    const { op, attributes } = node;
    const pads = attributes?.pads as number[] | undefined;
    if (LINEAR.includes(op)) {
      isAhead = op !== "ConvTranspose" && !pads?.some((pad) => pad > 0);
    } else if (op === "BatchNormalization") {
      if (isAhead) folded.add(node);
      else if (!folded.has(node)) isAhead = false;
    } else if (!["Identity", "Transpose"].includes(op)) isAhead = false;
  }
  return nodes.filter((node) => folded.has(node)).map(({ out }) => out[0]!);
}

Deno.test("fold: chains of layers give the same, and all that can go goes", async () => {
  await fc.assert(
    fc.asyncProperty(chain, async (layers) => {
      const { spec, next } = modelOf(layers);
      const { folded } = await assertFolds(spec, next);
      assertEquals(
        folded.map(({ name }) => name.slice("n_".length)),
        expected(spec),
      );
    }),
    { numRuns: 60, seed: 4 },
  );
});
