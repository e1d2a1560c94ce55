/**
 * What `TrainingInfoProto` means, as a model that any runtime can run: one
 * step of training, with the variables as inputs and their new values as
 * outputs.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import { joinBytes } from "../../bytes.ts";
import { FormatError, OptionError, UnsupportedError } from "../../errors.ts";
import { isElementType, type Tensor } from "../../tensor.ts";
import { Edits, encodeFields } from "../edit.ts";
import type { DataType } from "../model.ts";
import { writeValueInfo } from "../model.ts";
import { GraphField, ModelField } from "../schema_fields.ts";
import { readTensor, type TensorView } from "../tensor_view.ts";
import {
  type GraphView,
  type ModelView,
  type Place,
  type TrainingInfoView,
  viewModel,
} from "../view.ts";
import { readFields } from "../wire_reader.ts";
import { rewriteTensor } from "../write_constants.ts";

/** An initializer that changes from step to step. */
export interface TrainingVariable {
  /** Its name, which is that of the step's input. */
  readonly name: string;
  /** The output with its new value; undefined if only the caller changes it. */
  readonly output: string | undefined;
  /** Its elements in the file. */
  readonly value: Tensor;
  /** Where it stands in the file. */
  readonly view: TensorView;
}

/** A step of training as a model of its own. */
export interface TrainingStep {
  /** The ONNX file, without training information. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The inputs that every step is given, variables apart. */
  readonly inputNames: readonly string[];
  /** The outputs. */
  readonly outputNames: readonly string[];
  /** The variables by name. */
  readonly variables: ReadonlyMap<string, TrainingVariable>;
}

function unsupported(what: string): UnsupportedError {
  return new UnsupportedError(`Cannot train the ONNX model: ${what}`);
}

/** The training information that is asked for. */
function chosen(
  { trainingInfo }: ModelView,
  index: number | undefined,
): TrainingInfoView {
  const count = trainingInfo.length;
  if (count === 0) {
    throw new FormatError(
      "Cannot train the ONNX model: it has no training information; buildOnnxTraining writes models that have",
    );
  }
  if (index === undefined && count > 1) {
    throw new OptionError(
      `Cannot train the ONNX model: it has ${count} algorithms, choose one with index`,
    );
  }
  const info = trainingInfo[index ?? 0];
  if (!info) {
    throw new OptionError(
      `Cannot train the ONNX model: expected index to be from 0 to ${
        count - 1
      }, got ${index}`,
    );
  }
  if (info.initializationBinding.size > 0) {
    throw unsupported(
      "it makes its first values with an initialization graph, which is not run here",
    );
  }
  if (!info.algorithm || info.updateBinding.size === 0) {
    throw unsupported("its algorithm updates nothing");
  }
  return info;
}

function readVariable(
  graphs: readonly GraphView[],
  name: string,
  output: string | undefined,
): TrainingVariable {
  const view = graphs.map(({ initializers }) => initializers.get(name))
    .find((tensor) => tensor !== undefined);
  if (!view) {
    throw new FormatError(
      `Cannot train the ONNX model: "${name}" is no initializer of it or of its algorithm`,
    );
  }
  if (view.external) {
    throw unsupported(`the elements of "${name}" are in another file`);
  }
  const { type, dims, data } = readTensor(view);
  if (!isElementType(type)) {
    throw unsupported(
      `expected "${name}" to be a tensor of floats, got ${type}`,
    );
  }
  return { name, output, value: { type, dims, data } as Tensor, view };
}

/** The fields of a graph that go into the step's, as bytes of the file. */
function* graphFields(
  bytes: Uint8Array,
  { place, initializers, inputs }: GraphView,
  left: ReadonlySet<number>,
  variables: ReadonlyMap<string, TrainingVariable>,
): Generator<Uint8Array> {
  const dropped = new Set<number>();
  const drop = ({ name, place }: { name: string; place: Place }): void => {
    if (variables.has(name)) dropped.add(place.start);
  };
  for (const tensor of initializers.values()) drop(tensor);
  inputs.forEach(drop);
  for (const field of readFields(bytes, place.from, place.to)) {
    if (left.has(field.number) || dropped.has(field.start)) continue;
    yield bytes.subarray(field.start, field.to);
  }
}

/** The names of what a graph must be given. */
function requiredInputs(
  graphs: readonly GraphView[],
  variables: ReadonlyMap<string, TrainingVariable>,
): string[] {
  const constants = new Set(
    graphs.flatMap(({ initializers }) => [...initializers.keys()]),
  );
  return graphs.flatMap(({ inputs }) => inputs.map(({ name }) => name))
    .filter((name) => !constants.has(name) && !variables.has(name));
}

/**
 * One step of a model's training as a model.
 *
 * As the format has it, the step's graph is the model's and the algorithm's,
 * one after the other. The initializers that an `update_binding` changes
 * become inputs; all other bytes are the file's.
 *
 * @param bytes The ONNX file.
 * @param options Which algorithm, if there are several; and the names of
 * further initializers that become inputs.
 * @returns The step.
 *
 * @throws {FormatError} If it is no ONNX model, has no training information,
 * or binds what it does not have.
 * @throws {OptionError} If there is no such algorithm or initializer.
 * @throws {UnsupportedError} If it has an initialization graph, or variables
 * that are no floats or in another file.
 */
export function trainingStep(
  bytes: Uint8Array,
  { index, adjustable = [] }: {
    readonly index?: number | undefined;
    readonly adjustable?: readonly string[] | undefined;
  } = {},
): TrainingStep {
  const model = viewModel(bytes);
  const { algorithm, updateBinding } = chosen(model, index);
  const graphs = [model.graph, algorithm!];
  const outputNames = graphs.flatMap(({ outputs }) =>
    outputs.map(({ name }) => name)
  );
  const variables = new Map<string, TrainingVariable>();
  for (const [name, output] of updateBinding) {
    if (!outputNames.includes(output)) {
      throw new FormatError(
        `Cannot train the ONNX model: it binds "${name}" to "${output}", which is no output`,
      );
    }
    variables.set(name, readVariable(graphs, name, output));
  }
  for (const name of adjustable) {
    if (variables.has(name)) continue;
    if (!graphs.some(({ initializers }) => initializers.has(name))) {
      throw new OptionError(
        `Cannot adjust "${name}": the ONNX model has no initializer of this name`,
      );
    }
    variables.set(name, readVariable(graphs, name, undefined));
  }
  const graph = joinBytes([
    ...graphFields(bytes, model.graph, new Set(), variables),
    ...graphFields(
      bytes,
      algorithm!,
      new Set<number>([GraphField.name, GraphField.docString]),
      variables,
    ),
    ...[...variables.values()].map(({ name, value, view }) =>
      encodeFields((writer) =>
        writer.message(GraphField.input, (w) =>
          writeValueInfo(w, {
            name,
            elemType: view.dataType as DataType,
            shape: value.dims,
          }))
      )
    ),
  ]);
  const rest: Uint8Array[] = [];
  for (const field of readFields(bytes)) {
    if (
      field.number === ModelField.graph ||
      field.number === ModelField.trainingInfo
    ) continue;
    rest.push(bytes.subarray(field.start, field.to));
  }
  rest.push(encodeFields((writer) => writer.bytes(ModelField.graph, graph)));
  return {
    bytes: joinBytes(rest),
    inputNames: requiredInputs(graphs, variables),
    outputNames,
    variables,
  };
}

/**
 * The model with new values of its variables; all other bytes stay.
 *
 * @param bytes The ONNX file.
 * @param values A variable of the file and its new elements each.
 */
export function writeVariables(
  bytes: Uint8Array,
  values: Iterable<readonly [TrainingVariable, Tensor]>,
): Uint8Array<ArrayBuffer> {
  const edits = new Edits(bytes);
  for (const [{ view }, value] of values) rewriteTensor(edits, view, value);
  return edits.finish();
}
