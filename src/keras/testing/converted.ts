/**
 * The models of `testdata/onnx/converted/`: Keras models before and after
 * more training, and what converters make of them.
 *
 * @module
 */

import type { RecordedTensor } from "../../onnx/testing/models.ts";
import { decode, onnx } from "../../onnx/testing/onnx_proto.ts";
import type { OnnxTensor } from "../../onnx/tensor_view.ts";

/** A model at one time. */
export interface ConvertedStage {
  readonly keras: string;
  readonly onnx: string;
  readonly input: RecordedTensor;
  readonly output: RecordedTensor;
  readonly layers: readonly {
    readonly layer: string;
    readonly channels: number;
    readonly form: string;
    readonly nodes: readonly string[];
    readonly into?: string;
  }[];
}

/** A model of one converter. */
export interface ConvertedCase {
  readonly name: string;
  readonly old: ConvertedStage;
  /** All trained on. */
  readonly new: ConvertedStage;
  /** Only BatchNormalizations trained on. */
  readonly bn?: ConvertedStage;
}

const FOLDER = new URL("../../../testdata/onnx/converted/", import.meta.url);

/** All models. */
export const CONVERTED: readonly ConvertedCase[] = JSON.parse(
  Deno.readTextFileSync(new URL("../converted.json", FOLDER)),
);

/** One of them. */
export function convertedCase(name: string): ConvertedCase {
  return CONVERTED.find((each) => each.name === name)!;
}

/** The path of a file. */
export function convertedPath(file: string): string {
  return new URL(file, FOLDER).pathname;
}

/** The bytes of a file. */
export function convertedBytes(file: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(convertedPath(file));
}

/** The one input of a model that is no constant. */
export function inputName(model: Uint8Array): string {
  const { input, initializer } = decode(model).graph!;
  const constants = new Set(initializer!.map(({ name }) => name));
  return input!.find(({ name }) => !constants.has(name))!.name!;
}

/** What a model is fed with to record its output. */
export function feedsOf(
  model: Uint8Array,
  input: OnnxTensor & { readonly type: "float32" },
): Record<string, OnnxTensor & { readonly type: "float32" }> {
  return { [inputName(model)]: input };
}

/**
 * A model without a name that says anything, except for its inputs and
 * outputs.
 */
export function anonymous(model: Uint8Array): Uint8Array {
  const message = decode(model);
  const graph = message.graph!;
  const kept = [...graph.input!, ...graph.output!].map(({ name }) => name!);
  const names = new Map(kept.map((name) => [name, name]));
  const nameOf = (name: string): string => {
    if (name === "") return name;
    const known = names.get(name) ?? `v${names.size}`;
    names.set(name, known);
    return known;
  };
  for (const tensor of graph.initializer!) tensor.name = nameOf(tensor.name!);
  graph.node!.forEach((node, i) => {
    node.name = `n${i}`;
    node.input = node.input!.map(nameOf);
    node.output = node.output!.map(nameOf);
  });
  graph.valueInfo = [];
  return new Uint8Array(onnx.ModelProto.encode(message).finish());
}
