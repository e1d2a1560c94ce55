import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Tensor } from "../../tensor.ts";
import { assertFolds } from "../testing/fold_checks.ts";
import {
  bnConstants,
  bnNode,
  type ModelSpec,
  type NodeSpec,
} from "../testing/fold_models.ts";
import { random, randomTensor } from "../testing/layers.ts";
import { decode } from "../testing/onnx_proto.ts";

/** One model, and what becomes of its only BatchNormalization, `y` or as said. */
interface Case {
  readonly title: string;
  readonly nodes: readonly NodeSpec[];
  /** Extents of random constants, or the constants. */
  readonly constants?: Readonly<
    Record<string, readonly number[] | Tensor | { ints: readonly number[] }>
  >;
  /** Channels of the BatchNormalizations, by name of their output. */
  readonly bn?: Readonly<Record<string, number>>;
  readonly x: readonly (number | string)[];
  readonly y: readonly (number | string)[];
  readonly rest?: Partial<ModelSpec>;
  /** Operator, direction and number of nodes between, for each that is folded. */
  readonly folded?: readonly string[];
  readonly kept?: RegExp;
  /** The operators that are left. */
  readonly operators: string;
}

function node(
  op: string,
  inputs: string,
  out: string,
  attributes: NodeSpec["attributes"] = {},
): NodeSpec {
  return { op, in: inputs.split(" "), out: [out], attributes };
}

/** Nodes, and a BatchNormalization `y` right behind the last. */
function behind(
  nodes: readonly NodeSpec[],
  channels: number,
): Pick<Case, "nodes" | "bn"> {
  const [output] = nodes.at(-1)!.out;
  return { nodes: [...nodes, bnNode(output!, "y")], bn: { y: channels } };
}

/** Nodes, and a BatchNormalization `b` of the input before the first. */
function ahead(
  nodes: readonly NodeSpec[],
  channels: number,
): Pick<Case, "nodes" | "bn"> {
  return { nodes: [bnNode("x", "b"), ...nodes], bn: { b: channels } };
}

const image = ["n", 4, 6, 5] as const;

const CASES: readonly Case[] = [
  {
    title: "Conv without bias gets one",
    ...behind([node("Conv", "x w", "c")], 3),
    constants: { w: [3, 4, 3, 3] },
    x: image,
    y: ["n", 3, 4, 3],
    folded: ["Conv before 0"],
    operators: "Conv",
  },
  {
    title: "Conv with bias, groups, strides, dilations, padding",
    ...behind([node("Conv", "x w b", "c", {
      group: 2,
      strides: [2, 1],
      dilations: [1, 2],
      pads: [1, 0, 1, 2],
    })], 6),
    constants: { w: [6, 2, 3, 2], b: [6] },
    x: image,
    y: ["n", 6, 3, 5],
    folded: ["Conv before 0"],
    operators: "Conv",
  },
  {
    title: "Conv of rank 3",
    ...behind([node("Conv", "x w b", "c")], 3),
    constants: { w: [3, 4, 2], b: [3] },
    x: ["n", 4, 7],
    y: ["n", 3, 6],
    folded: ["Conv before 0"],
    operators: "Conv",
  },
  {
    title: "Conv of rank 5",
    ...behind([node("Conv", "x w", "c")], 3),
    constants: { w: [3, 2, 2, 1, 2] },
    x: ["n", 2, 3, 3, 3],
    y: ["n", 3, 2, 3, 2],
    folded: ["Conv before 0"],
    operators: "Conv",
  },
  {
    title: "Conv whose bias is left out by an empty name",
    ...behind([{ op: "Conv", in: ["x", "w", ""], out: ["c"] }], 3),
    constants: { w: [3, 4, 1, 1] },
    x: image,
    y: ["n", 3, 6, 5],
    folded: ["Conv before 0"],
    operators: "Conv",
  },
  {
    title: "ConvTranspose",
    ...behind([node("ConvTranspose", "x w b", "c", { strides: [2, 2] })], 3),
    constants: { w: [4, 3, 2, 3], b: [3] },
    x: image,
    y: ["n", 3, 12, 11],
    folded: ["ConvTranspose before 0"],
    operators: "ConvTranspose",
  },
  {
    title: "ConvTranspose with groups, without bias",
    ...behind([
      node("ConvTranspose", "x w", "c", { group: 2, pads: [0, 1, 0, 1] }),
    ], 6),
    constants: { w: [4, 3, 2, 3] },
    x: image,
    y: ["n", 6, 7, 5],
    folded: ["ConvTranspose before 0"],
    operators: "ConvTranspose",
  },
  {
    title: "Gemm",
    ...behind([node("Gemm", "x w b", "c")], 3),
    constants: { w: [5, 3], b: [3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["Gemm before 0"],
    operators: "Gemm",
  },
  {
    title: "Gemm with all attributes and a bias for all",
    ...behind([
      node("Gemm", "x w b", "c", { alpha: 0.3, beta: 2.7, transB: 1 }),
    ], 3),
    constants: { w: [3, 5], b: [1] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["Gemm before 0"],
    operators: "Gemm",
  },
  {
    title: "Gemm with transA and a bias per row",
    ...behind([node("Gemm", "x w b", "c", { transA: 1, beta: 0.7 })], 3),
    constants: { w: [5, 3], b: [4, 1] },
    x: [5, 4],
    y: [4, 3],
    folded: ["Gemm before 0"],
    operators: "Gemm",
  },
  {
    title: "Gemm without bias",
    ...behind([node("Gemm", "x w", "c", { alpha: 2, beta: 3 })], 3),
    constants: { w: [5, 3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["Gemm before 0"],
    operators: "Gemm",
  },
  {
    title: "MatMul and Add",
    ...behind([node("MatMul", "x w", "m"), node("Add", "b m", "c")], 3),
    constants: { w: [5, 3], b: [3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["MatMul before 1"],
    operators: "MatMul Add",
  },
  {
    title: "MatMul alone gets an Add",
    ...behind([node("MatMul", "x w", "m")], 3),
    constants: { w: [5, 3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["MatMul before 0"],
    operators: "MatMul Add",
  },
  {
    title: "MatMul of rank 3, as Keras' Dense, through Transpose",
    nodes: [
      node("MatMul", "x w", "m"),
      node("Add", "m b", "a"),
      node("Transpose", "a", "t", { perm: [0, 2, 1] }),
      bnNode("t", "u"),
      node("Transpose", "u", "y", { perm: [0, 2, 1] }),
    ],
    constants: { w: [5, 3], b: [1] },
    bn: { u: 3 },
    x: ["n", 4, 5],
    y: ["n", 4, 3],
    folded: ["MatMul before 2"],
    operators: "MatMul Add Transpose Transpose",
  },
  {
    title: "MatMul of rank 3 with as many rows as channels",
    ...behind([node("MatMul", "x w", "m")], 3),
    constants: { w: [5, 3] },
    x: ["n", 3, 5],
    y: ["n", 3, 3],
    kept: /axis 1, where the channels of MatMul "n_m" are axis 2/,
    operators: "MatMul BatchNormalization",
  },
  {
    title: "MatMul with a constant on its left",
    ...behind([node("MatMul", "w x", "m")], 3),
    constants: { w: [4, 5] },
    x: [5, 3],
    y: [4, 3],
    kept: /MatMul "n_m" has no constant weight: the graph input "x"/,
    operators: "MatMul BatchNormalization",
  },
  {
    title: "Conv and Add, through Identity",
    ...behind([
      node("Conv", "x w", "c"),
      node("Identity", "c", "i"),
      node("Add", "i b", "a"),
    ], 3),
    constants: { w: [3, 4, 3, 3], b: [1, 3, 1, 1] },
    x: image,
    y: ["n", 3, 4, 3],
    folded: ["Conv before 2"],
    operators: "Conv Identity Add",
  },
  {
    title: "Conv and Add of a value per place",
    ...behind([node("Conv", "x w b", "c"), node("Add", "c s", "a")], 3),
    constants: { w: [3, 4, 3, 3], b: [3], s: [4, 3] },
    x: image,
    y: ["n", 3, 4, 3],
    folded: ["Conv before 1"],
    operators: "Conv Add",
  },
  {
    title: "channels last and back: the BatchNormalization's axis is another",
    ...behind([
      node("Conv", "x w", "c"),
      node("Transpose", "c", "t", { perm: [0, 2, 3, 1] }),
    ], 3),
    constants: { w: [3, 4, 4, 3] },
    x: image,
    y: ["n", 3, 3, 3],
    kept: /channels of Conv "n_c" are axis 3/,
    operators: "Conv Transpose BatchNormalization",
  },
  {
    title: "channels last and back again",
    ...behind([
      node("Conv", "x w", "c"),
      node("Transpose", "c", "t", { perm: [0, 2, 3, 1] }),
      node("Transpose", "t", "s", { perm: [0, 3, 2, 1] }),
    ], 3),
    constants: { w: [3, 4, 3, 3] },
    x: image,
    y: ["n", 3, 3, 4],
    folded: ["Conv before 2"],
    operators: "Conv Transpose Transpose",
  },
  {
    title: "Transpose without perm",
    ...behind([node("Conv", "x w", "c"), node("Transpose", "c", "t")], 3),
    constants: { w: [3, 4, 2] },
    x: ["n", 4, 6],
    y: [5, 3, "n"],
    folded: ["Conv before 1"],
    operators: "Conv Transpose",
  },
  {
    title: "Reshape that merges places, all else unknown",
    ...behind([node("Conv", "x w", "c"), node("Reshape", "c shape", "r")], 3),
    constants: { w: [3, 4, 3, 3], shape: { ints: [0, 3, -1] } },
    x: image,
    y: ["n", 3, 12],
    folded: ["Conv before 1"],
    operators: "Conv Reshape",
  },
  {
    title: "Reshape with an inferred batch needs the places",
    ...behind([node("Conv", "x w", "c"), node("Reshape", "c shape", "r")], 3),
    constants: { w: [3, 4, 3, 3], shape: { ints: [-1, 3, 12] } },
    x: image,
    y: ["n", 3, 12],
    kept: /Reshape "n_r" does not keep the channels/,
    operators: "Conv Reshape BatchNormalization",
  },
  {
    title: "Reshape with an inferred batch, the places declared",
    ...behind([node("Conv", "x w", "c"), node("Reshape", "c shape", "r")], 3),
    constants: { w: [3, 4, 3, 3], shape: { ints: [-1, 3, 12] } },
    x: image,
    y: ["n", 3, 12],
    rest: { valueInfo: { c: ["n", 3, 4, 3] } },
    folded: ["Conv before 1"],
    operators: "Conv Reshape",
  },
  {
    title: "Reshape that mixes channels and places",
    ...behind([node("Conv", "x w", "c"), node("Reshape", "c shape", "r")], 12),
    constants: { w: [3, 4, 3, 3], shape: { ints: [0, -1, 3] } },
    x: image,
    y: ["n", 12, 3],
    kept: /Reshape "n_r" does not keep the channels/,
    operators: "Conv Reshape BatchNormalization",
  },
  {
    title: "Flatten of single places",
    ...behind([node("Conv", "x w", "c"), node("Flatten", "c", "f")], 3),
    constants: { w: [3, 4, 6, 5] },
    x: image,
    y: ["n", 3],
    rest: { valueInfo: { c: ["n", 3, 1, 1] } },
    folded: ["Conv before 1"],
    operators: "Conv Flatten",
  },
  {
    title: "Flatten of several places",
    ...behind([node("Conv", "x w", "c"), node("Flatten", "c", "f")], 36),
    constants: { w: [3, 4, 3, 3] },
    x: image,
    y: ["n", 36],
    rest: { valueInfo: { c: ["n", 3, 4, 3] } },
    kept: /Flatten "n_f" does not keep the channels/,
    operators: "Conv Flatten BatchNormalization",
  },
  {
    title: "Conv1D of tf2onnx: Unsqueeze, Conv, Squeeze",
    ...behind([
      node("Unsqueeze", "x two", "u"),
      node("Conv", "u w", "c"),
      node("Squeeze", "c two", "s"),
    ], 3),
    constants: { w: [3, 4, 1, 2], two: { ints: [2] } },
    x: ["n", 4, 6],
    y: ["n", 3, 5],
    folded: ["Conv before 1"],
    operators: "Unsqueeze Conv Squeeze",
  },
  {
    title: "a chain is rounded once",
    nodes: [
      node("Conv", "x w b", "c"),
      bnNode("c", "d"),
      bnNode("d", "e"),
      bnNode("e", "y"),
    ],
    constants: { w: [3, 4, 3, 3], b: [3] },
    bn: { d: 3, e: 3, y: 3 },
    x: image,
    y: ["n", 3, 4, 3],
    folded: ["Conv before 0", "Conv before 0", "Conv before 0"],
    operators: "Conv",
  },
  {
    title: "a chain with an Add within and one behind",
    nodes: [
      node("MatMul", "x w", "m"),
      bnNode("m", "d"),
      node("Add", "d b", "a"),
      bnNode("a", "e"),
      node("Identity", "e", "y"),
    ],
    constants: { w: [5, 3], b: [3] },
    bn: { d: 3, e: 3 },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["MatMul before 0", "MatMul before 1"],
    operators: "MatMul Add Identity",
  },
  {
    title: "folded down into a Conv without padding, groups",
    ...ahead([node("Conv", "b w", "y", { group: 2, strides: [2, 2] })], 4),
    constants: { w: [6, 2, 3, 3] },
    x: image,
    y: ["n", 6, 2, 2],
    folded: ["Conv after 0"],
    operators: "Conv",
  },
  {
    title:
      "folded down into a Conv with auto_pad VALID, through Identity and Transpose",
    ...ahead([
      node("Identity", "b", "i"),
      node("Transpose", "i", "t", { perm: [0, 1, 3, 2] }),
      node("Conv", "t w v", "y", { auto_pad: "VALID" }),
    ], 4),
    constants: { w: [6, 4, 3, 3], v: [6] },
    x: image,
    y: ["n", 6, 3, 4],
    folded: ["Conv after 2"],
    operators: "Identity Transpose Conv",
  },
  {
    title: "folded down into a Conv with padding",
    ...ahead([node("Conv", "b w", "y", { pads: [0, 1, 0, 1] })], 4),
    constants: { w: [6, 4, 3, 3] },
    x: image,
    y: ["n", 6, 4, 5],
    kept: /Conv pads with zeros/,
    operators: "BatchNormalization Conv",
  },
  {
    title: "folded down into a Conv with auto_pad SAME_UPPER",
    ...ahead([node("Conv", "b w", "y", { auto_pad: "SAME_UPPER" })], 4),
    constants: { w: [6, 4, 3, 3] },
    x: image,
    y: ["n", 6, 6, 5],
    kept: /Conv pads with zeros/,
    operators: "BatchNormalization Conv",
  },
  {
    title:
      "folded down into a Conv with auto_pad SAME_LOWER that has nothing to pad",
    ...ahead([
      node("Conv", "b w", "y", { auto_pad: "SAME_LOWER", strides: [2, 2] }),
    ], 4),
    constants: { w: [6, 4, 1, 1] },
    x: image,
    y: ["n", 6, 3, 3],
    folded: ["Conv after 0"],
    operators: "Conv",
  },
  {
    title: "folded down into a Gemm, all attributes",
    ...ahead(
      [node("Gemm", "b w c", "y", { alpha: 0.3, beta: 1.7, transB: 1 })],
      5,
    ),
    constants: { w: [3, 5], c: [1, 3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["Gemm after 0"],
    operators: "Gemm",
  },
  {
    title: "folded down into a Gemm that sums over the batch",
    ...ahead([node("Gemm", "b w", "y", { transA: 1 })], 5),
    constants: { w: [4, 3] },
    x: [4, 5],
    y: [5, 3],
    kept: /axis 1, where the channels of Gemm "n_y" are axis 0/,
    operators: "BatchNormalization Gemm",
  },
  {
    title: "folded down into MatMul, which gets an Add",
    ...ahead([node("MatMul", "b w", "y")], 5),
    constants: { w: [5, 3] },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["MatMul after 0"],
    operators: "MatMul Add",
  },
  {
    title: "folded down into a Gemm, through Flatten of places",
    ...ahead([node("Flatten", "b", "f"), node("Gemm", "f w", "y")], 4),
    constants: { w: [12, 3] },
    x: ["n", 4, 3],
    y: ["n", 3],
    kept: /Flatten "n_f" does not keep the channels/,
    operators: "BatchNormalization Flatten Gemm",
  },
  {
    title: "folded down into a ConvTranspose",
    ...ahead([node("ConvTranspose", "b w", "y")], 4),
    constants: { w: [4, 3, 2, 2] },
    x: image,
    y: ["n", 3, 7, 6],
    kept: /ConvTranspose adds up a different number/,
    operators: "BatchNormalization ConvTranspose",
  },
  {
    title: "a chain before, between, and after",
    nodes: [
      bnNode("x", "a"),
      bnNode("a", "b"),
      node("Conv", "b w", "c"),
      bnNode("c", "d"),
      bnNode("d", "e"),
      node("Conv", "e v", "f", { pads: [1, 1, 1, 1] }),
      bnNode("f", "y"),
    ],
    constants: { w: [3, 4, 3, 3], v: [2, 3, 3, 3] },
    bn: { a: 4, b: 4, d: 3, e: 3, y: 2 },
    x: image,
    y: ["n", 2, 4, 3],
    folded: [
      "Conv after 0",
      "Conv after 0",
      "Conv before 0",
      "Conv before 0",
      "Conv before 0",
    ],
    operators: "Conv Conv",
  },
  {
    title: "folded down into MatMul, the channels moved last",
    ...ahead([
      node("Transpose", "b", "t", { perm: [0, 2, 3, 1] }),
      node("MatMul", "t w", "y"),
    ], 4),
    constants: { w: [4, 3] },
    x: image,
    y: ["n", 6, 5, 3],
    rest: { valueInfo: { b: image, t: ["n", 6, 5, 4] } },
    folded: ["MatMul after 1"],
    operators: "Transpose MatMul Add",
  },
  {
    title: "folded down into a Conv, through Unsqueeze, Squeeze and Reshape",
    ...ahead([
      node("Unsqueeze", "b axes", "u"),
      node("Squeeze", "u axes", "s"),
      node("Unsqueeze", "s last", "v"),
      node("Reshape", "v shape", "r"),
      node("Conv", "r w", "y"),
    ], 4),
    constants: {
      w: [3, 4, 2, 1],
      axes: { ints: [1, -1] },
      last: { ints: [-1] },
      shape: { ints: [-1, 4, 6, 1] },
    },
    x: ["n", 4, 6],
    y: ["n", 3, 5, 1],
    rest: { valueInfo: { v: ["n", 4, 6, 1] } },
    folded: ["Conv after 4"],
    operators: "Unsqueeze Squeeze Unsqueeze Reshape Conv",
  },
  {
    title: "folded up through Unsqueeze in front of the channels",
    ...behind([node("Gemm", "x w", "c"), node("Unsqueeze", "c first", "u")], 4),
    constants: { w: [5, 3], first: { ints: [-3] } },
    x: [4, 5],
    y: [1, 4, 3],
    kept: /channels of Gemm "n_c" are axis 2/,
    operators: "Gemm Unsqueeze BatchNormalization",
  },
  {
    title: "two behind one Add",
    nodes: [
      node("MatMul", "x w", "m"),
      node("Add", "m b", "a"),
      bnNode("a", "d"),
      bnNode("d", "y"),
    ],
    constants: { w: [5, 3], b: [3] },
    bn: { d: 3, y: 3 },
    x: ["n", 5],
    y: ["n", 3],
    folded: ["MatMul before 1", "MatMul before 1"],
    operators: "MatMul Add",
  },
  {
    title: "Squeeze with an attribute, as before opset 13",
    ...behind([
      node("Conv", "x w", "c"),
      node("Squeeze", "c", "s", { axes: [2] }),
    ], 3),
    constants: { w: [3, 4, 6, 1] },
    x: image,
    y: ["n", 3, 5],
    rest: { opset: 11 },
    folded: ["Conv before 1"],
    operators: "Conv Squeeze",
  },
  {
    title: "Squeeze of whatever has one element",
    ...behind([node("Conv", "x w", "c"), node("Squeeze", "c", "s")], 3),
    constants: { w: [3, 4, 6, 1] },
    x: image,
    y: ["n", 3, 5],
    kept: /^Squeeze "n_s" has no axes: what it removes depends on the shape; /,
    operators: "Conv Squeeze BatchNormalization",
  },
  {
    title: "Reshape to a shape that is computed",
    ...behind([
      node("Conv", "x w", "c"),
      node("Shape", "z", "shape"),
      node("Reshape", "c shape", "r"),
    ], 3),
    constants: { w: [3, 4, 3, 3], z: [2, 3, 12] },
    x: image,
    y: ["n", 3, 12],
    kept: /^Reshape "n_r" has shape that is no constant; /,
    operators: "Conv Shape Reshape BatchNormalization",
  },
  {
    title: "MatMul whose rank a Reshape tells",
    nodes: [
      node("Reshape", "x shape", "r"),
      node("MatMul", "r w", "m"),
      bnNode("m", "b"),
      node("ReduceMax", "b", "y", { keepdims: 0 }),
    ],
    constants: { w: [5, 3], shape: { ints: [-1, 5] } },
    bn: { b: 3 },
    x: [2, 3, 5],
    y: [],
    folded: ["MatMul before 0"],
    operators: "Reshape MatMul Add ReduceMax",
  },
  {
    title: "MatMul of a rank that nothing can tell",
    nodes: [
      node("Shape", "z", "shape"),
      node("Reshape", "x shape", "r"),
      node("MatMul", "r w", "m"),
      bnNode("m", "b"),
      node("ReduceMax", "b", "y", { keepdims: 0 }),
    ],
    constants: { w: [5, 3], z: [6, 5] },
    bn: { b: 3 },
    x: [2, 3, 5],
    y: [],
    kept: /^the rank of MatMul "n_m" is not known; /,
    operators: "Shape Reshape MatMul BatchNormalization ReduceMax",
  },
  {
    title: "an Add that makes the rank larger",
    ...behind([node("Gemm", "x w", "c"), node("Add", "c b", "a")], 4),
    constants: { w: [5, 3], b: [2, 1, 3] },
    x: [4, 5],
    y: [2, 4, 3],
    kept: /^Add "n_a" makes its input's rank larger; /,
    operators: "Gemm Add BatchNormalization",
  },
  {
    title: "neighbours that cannot take it",
    nodes: [
      node("Relu", "x", "r"),
      bnNode("r", "b"),
      node("Sigmoid", "b", "y"),
    ],
    bn: { b: 4 },
    x: image,
    y: image,
    kept: /^its input comes from Relu "n_r"; its output goes to Sigmoid "n_y"$/,
    operators: "Relu BatchNormalization Sigmoid",
  },
  {
    title: "branching output",
    nodes: [
      node("Conv", "x w", "c"),
      bnNode("c", "b"),
      node("Add", "b c", "y"),
    ],
    constants: { w: [4, 4, 1, 1] },
    bn: { b: 4 },
    x: image,
    y: image,
    kept:
      /^branching: 2 inputs of nodes use "c"; its output goes to Add "n_y"$/,
    operators: "Conv BatchNormalization Add",
  },
  {
    title: "a Conv whose output is the graph's too",
    ...behind([node("Conv", "x w", "c")], 4),
    constants: { w: [4, 4, 1, 1] },
    x: image,
    y: image,
    rest: { outputs: { y: image, c: image } },
    kept: /^branching: "c" is an output of its graph/,
    operators: "Conv BatchNormalization",
  },
  {
    title: "a weight that is computed",
    ...behind([node("Relu", "v", "w"), node("Conv", "x w", "c")], 4),
    constants: { v: [4, 4, 1, 1] },
    x: image,
    y: image,
    kept: /Conv "n_c" has no constant weight: the Relu node "n_w" computes "w"/,
    operators: "Relu Conv BatchNormalization",
  },
  {
    title: "parameters that are computed",
    nodes: [
      node("Conv", "x w", "c"),
      node("Relu", "m", "y_mean"),
      node("BatchNormalization", "c y_scale y_B y_mean y_var", "y"),
    ],
    constants: { w: [4, 4, 1, 1], m: [4] },
    bn: { y: 4 },
    x: image,
    y: image,
    kept: /^dynamic mean: the Relu node "n_y_mean" computes "y_mean"$/,
    operators: "Conv Relu BatchNormalization",
  },
];

function specOf(
  { nodes, constants = {}, bn = {}, x, y, rest }: Case,
  next: () => number,
): ModelSpec {
  const made = new Set(nodes.flatMap(({ out }) => out));
  const parameters = Object.entries(bn).flatMap(([name, channels]) =>
    Object.entries(bnConstants(name, channels, next))
  );
  return {
    nodes,
    inputs: { x },
    outputs: { y },
    constants: Object.fromEntries([
      ...Object.entries(constants).map(([name, value]) =>
        [
          name,
          "ints" in value
            ? value.ints
            : "type" in value
            ? value
            : randomTensor(next, value),
        ] as const
      ),
      ...parameters.filter(([name]) => !made.has(name)),
    ]),
    ...rest,
  };
}

for (const [seed, each] of CASES.entries()) {
  Deno.test(`fold: ${each.title}`, async () => {
    const next = random(seed);
    const spec = specOf(each, next);
    const { bytes, folded, kept } = await assertFolds(spec, next);
    assertEquals(
      folded.map(({ operator, direction, through }) =>
        `${operator} ${direction} ${through.length}`
      ),
      each.folded ?? [],
    );
    if (each.kept) {
      assertEquals(kept.length, 1);
      assertMatch(kept[0]!.reason, each.kept);
    } else {
      assertEquals(kept, []);
    }
    const graph = decode(bytes).graph!;
    assertEquals(
      graph.node!.map(({ opType }) => opType).join(" "),
      each.operators,
    );
    // Nothing is left that no one reads, and nothing is told of what is gone.
    const read = new Set([
      ...graph.node!.flatMap(({ input }) => input!),
      ...graph.output!.map(({ name }) => name!),
    ]);
    const made = new Set(graph.node!.flatMap(({ output }) => output!));
    for (const { name } of graph.initializer!) assert(read.has(name!), name!);
    for (const { name } of graph.valueInfo!) assert(made.has(name!), name!);
  });
}
