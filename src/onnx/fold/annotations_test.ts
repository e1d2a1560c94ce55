import { assert, assertEquals, assertMatch } from "@std/assert";
import type onnxProto from "onnx-proto";
import { fold } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  makeModel,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random, randomTensor } from "../testing/layers.ts";
import { decode, onnx } from "../testing/onnx_proto.ts";
import type { FoldResult } from "./fold.ts";

type Graph = onnxProto.onnx.IGraphProto;

/** MatMul, Identity, BatchNormalization `y`, and what annotations name. */
function annotated(
  tensorName: string,
  parameters: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const next = random(1);
  const message = decode(makeModel({
    nodes: [
      { op: "MatMul", in: ["x", "w"], out: ["z"] },
      { op: "Identity", in: ["z"], out: ["i"] },
      bnNode("i", "y"),
    ],
    constants: { w: randomTensor(next, [4, 3]), ...bnConstants("y", 3, next) },
    inputs: { x: ["n", 4] },
    outputs: { y: ["n", 3] },
  }));
  annotate(message.graph!, tensorName, parameters);
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}

function annotate(
  graph: Graph,
  tensorName: string,
  parameters: Readonly<Record<string, string>>,
): void {
  graph.quantizationAnnotation = [{
    tensorName,
    quantParameterTensorNames: Object.entries(parameters)
      .map(([key, value]) => ({ key, value })),
  }];
}

function initializers({ bytes }: FoldResult): string[] {
  return decode(bytes).graph!.initializer!.map(({ name }) => name!);
}

Deno.test("fold: constants that a quantization annotation names stay", () => {
  const result = fold(
    annotated("y_scale", { SCALE_TENSOR: "y_var", ZERO_POINT_TENSOR: "none" }),
  );
  assertEquals(result.folded.length, 1);
  assertEquals(
    initializers(result).filter((name) => name.startsWith("y_")),
    ["y_scale", "y_var"],
  );
  const [annotation] = decode(result.bytes).graph!.quantizationAnnotation!;
  assertEquals(annotation!.tensorName, "y_scale");
});

Deno.test("fold: an annotation of a value that stays the same is no obstacle", () => {
  for (const name of ["x", "y"]) {
    const result = fold(annotated(name));
    assertEquals(result.folded.length, 1);
    assert(!initializers(result).includes("y_scale"));
  }
});

Deno.test("fold: annotated weights and values between are reasons to stay", () => {
  const reasons: readonly (readonly [string, RegExp])[] = [
    ["w", /initializer "w": a quantization annotation names it/],
    ["z", /^a quantization annotation names "z"/],
    ["i", /^a quantization annotation names "i"/],
  ];
  for (const [name, reason] of reasons) {
    const model = annotated(name);
    const { kept, bytes } = fold(model);
    assertMatch(kept[0]!.reason, reason);
    assertEquals(bytes, model);
  }
});

Deno.test("fold: annotations in all parts of a graph, and in subgraphs", () => {
  // Protobuf reads two graph fields as one graph.
  const model = annotated("x");
  const part: Graph = {};
  annotate(part, "z", {});
  const more = onnx.ModelProto.encode({ graph: part }).finish();
  const both = new Uint8Array([...more, ...model]);
  assertMatch(fold(both).kept[0]!.reason, /annotation names "z"/);

  const next = random(2);
  const branch = (out: string, node: NodeSpec) => ({
    nodes: [node],
    outputs: { [out]: ["n", 3] },
  });
  const message = decode(makeModel({
    nodes: [
      { op: "MatMul", in: ["x", "w"], out: ["z"] },
      bnNode("z", "y"),
      {
        op: "If",
        in: ["c"],
        out: ["u"],
        attributes: {
          then_branch: branch("t", { op: "Neg", in: ["y"], out: ["t"] }),
          else_branch: branch("e", { op: "Abs", in: ["y"], out: ["e"] }),
        },
      },
    ],
    constants: { w: randomTensor(next, [4, 3]), ...bnConstants("y", 3, next) },
    inputs: { x: ["n", 4], c: [] },
    outputs: { u: ["n", 3] },
  }));
  const inner = message.graph!.node!.at(-1)!.attribute![0]!.g!;
  // A subgraph sees the names of the graph around it.
  annotate(inner, "t", { SCALE_TENSOR: "y_mean" });
  const result = fold(
    new Uint8Array(onnx.ModelProto.encode(message).finish()),
  );
  assertEquals(result.folded.length, 1);
  assertEquals(
    initializers(result).filter((name) => name.startsWith("y_")),
    ["y_mean"],
  );
});
