/**
 * A program for feeds of certain shapes: the type and extents of every value,
 * and of each node what is left to do in a run.
 *
 * @module
 */

import {
  EvenkeelError,
  FormatError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from "../errors.ts";
import { elementTypeNamed, type OnnxData } from "../onnx/element_types.ts";
import type { Inputs, Outcome, Run } from "./ops/operator.ts";
import type { Program, ProgramNode } from "./program.ts";
import { checkSize, countOf, createArray, type Spec } from "./values.ts";

/** What a node does in every run. */
export interface Step {
  readonly label: string;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly outcome: Outcome & { readonly run: Run };
}

/** A view: a value that has the elements of another. */
export type Views = ReadonlyMap<number, number>;

/** A program for certain shapes. */
export interface Specialized {
  readonly specs: readonly (Spec | undefined)[];
  readonly steps: readonly Step[];
  /** The value whose elements each view has. */
  readonly views: Views;
}

/**
 * Values that depend on nothing but constants are computed once, up to this
 * many bytes; larger ones in each run, so that a small file cannot fill the
 * memory before it runs.
 */
const FOLD_BYTES = 16 * 1024 * 1024;

/** Thrown where a shape depends on the elements of feeds, which it names. */
export class NeedsElements extends Error {
  /** The inputs. */
  readonly ids: readonly number[];

  /** Names the inputs whose elements must be known. */
  constructor(ids: readonly number[]) {
    super("a shape depends on elements of the feeds");
    this.ids = ids;
  }
}

/** An error with the node that it is about, if it does not name one. */
export function withLabel(error: unknown, label: string): unknown {
  if (!(error instanceof EvenkeelError) || /^Cannot /.test(error.message)) {
    return error;
  }
  const message = `Cannot run ${label}: ${error.message}`;
  const options = { cause: error };
  if (error instanceof ShapeError) return new ShapeError(message, options);
  if (error instanceof OptionError) return new OptionError(message, options);
  if (error instanceof FormatError) return new FormatError(message, options);
  return new UnsupportedError(message, options);
}

/**
 * Specializes a program.
 *
 * @param program The program.
 * @param feeds What is fed: with elements where a shape depends on them.
 *
 * @throws {NeedsElements} If a shape depends on elements that are not given.
 * @throws {ShapeError} If the shapes do not fit together.
 */
export function specialize(
  program: Program,
  feeds: ReadonlyMap<number, Spec>,
): Specialized {
  const specs = new Array<Spec | undefined>(program.valueCount);
  for (const [id, spec] of program.constants) specs[id] = spec;
  for (const [id, spec] of feeds) specs[id] = spec;
  const steps: Step[] = [];
  const views = new Map<number, number>();
  for (const node of program.nodes) {
    const outcome = outcomeOf(program, node, specs, feeds);
    const { outputs, view } = outcome;
    if (view) {
      const [input] = node.inputs as [number];
      const [output] = node.outputs as [number];
      specs[output] = { ...outputs[0]!, value: specs[input]!.value };
      views.set(output, input);
      continue;
    }
    const isConstant = node.inputs.every((id) =>
      id < 0 || specs[id]!.value !== undefined
    );
    const { run } = outcome;
    if (run && isConstant && bytesOf(outputs) <= FOLD_BYTES) {
      const values = fold(node, outputs, run, specs);
      outputs.forEach((spec, i) => {
        const id = node.outputs[i] ?? -1;
        if (id >= 0) specs[id] = { ...spec, value: values[i] };
      });
      continue;
    }
    outputs.forEach((spec, i) => {
      const id = node.outputs[i] ?? -1;
      if (id >= 0) specs[id] = spec;
    });
    if (run) steps.push({ ...node, outcome: { ...outcome, run } });
  }
  return { specs, steps, views };
}

function bytesOf(outputs: readonly Spec[]): number {
  return outputs.reduce(
    (sum, { type, dims }) =>
      sum + countOf(dims) * elementTypeNamed(type).Data.BYTES_PER_ELEMENT,
    0,
  );
}

function fold(
  node: ProgramNode,
  outputs: readonly Spec[],
  run: Run,
  specs: readonly (Spec | undefined)[],
): OnnxData[] {
  const values = outputs.map(({ type, dims }) =>
    createArray(type, countOf(dims))
  );
  try {
    run(node.inputs.map((id) => specs[id]?.value), values);
  } catch (error) {
    throw withLabel(error, node.label);
  }
  return values;
}

function outcomeOf(
  program: Program,
  node: ProgramNode,
  specs: readonly (Spec | undefined)[],
  feeds: ReadonlyMap<number, Spec>,
): Outcome {
  const optional = (index: number): Spec | undefined =>
    specs[node.inputs[index] ?? -1];
  const get = (index: number): Spec => {
    const spec = optional(index);
    if (!spec) {
      throw new FormatError(
        `Cannot run ${node.label}: it has no input ${index}`,
      );
    }
    return spec;
  };
  const inputs: Inputs = {
    length: node.inputs.length,
    get,
    optional,
    value(index) {
      const { value } = get(index);
      if (value) return value;
      const ids = feedsOf(program, node.inputs[index]!, feeds);
      if (ids.length > 0) throw new NeedsElements(ids);
      throw new UnsupportedError(
        `Cannot run ${node.label}: a shape depends on a value of more than ${FOLD_BYTES} bytes`,
      );
    },
  };
  try {
    const outcome = node.specialize(inputs);
    for (const { type, dims } of outcome.outputs) checkSize(type, dims);
    return outcome;
  } catch (error) {
    throw withLabel(error, node.label);
  }
}

/** The feeds without elements that a value depends on. */
function feedsOf(
  { nodes }: Program,
  value: number,
  feeds: ReadonlyMap<number, Spec>,
): number[] {
  const needed = new Set([value]);
  for (let i = nodes.length - 1; i >= 0; i--) {
    const { inputs, outputs } = nodes[i]!;
    if (!outputs.some((id) => needed.has(id))) continue;
    for (const id of inputs) needed.add(id);
  }
  return [...needed].filter((id) =>
    feeds.has(id) && feeds.get(id)!.value === undefined
  );
}
