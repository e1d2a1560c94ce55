/**
 * The models that a command line names, ready to be embedded.
 *
 * @module
 */

import { basename } from "node:path";
import { access } from "node:fs/promises";
import { EvenkeelError, ShapeError, UnsupportedError } from "../errors.ts";
import { buildOnnx } from "../onnx/build.ts";
import type { BatchNormalization } from "../layer/batch_normalization.ts";
import type { FrozenWeights } from "../layer/frozen.ts";
import { datatypeOf } from "../serve/json_tensors.ts";
import type { LayerParts } from "../serve/layer_model.ts";
import { createSession } from "../session/session.ts";
import type { ValueMetadata } from "../session/types.ts";
import type { EmbeddedModel } from "./bundle_files.ts";
import { UsageError } from "./command.ts";
import { type NamedLayer, openModel } from "./model.ts";
import { openOnnxFile, readExternal } from "./onnx_files.ts";
import {
  checkShapeNames,
  formatShape,
  givenShape,
  type GivenShapes,
  shapeError,
} from "./shapes.ts";
import type { InputShape } from "../keras/model/least_shape.ts";
import type { Tensor } from "../tensor.ts";
import type { SourceOptions } from "./source.ts";

/** A model, and what it takes and gives. */
export interface ServableModel extends EmbeddedModel {
  /** Where it came from. */
  readonly source: string;
  /** The layer's name, if it is one of a Keras source. */
  readonly layerName?: string;
  /** Its inputs. */
  readonly inputs: readonly ValueMetadata[];
  /** Its outputs. */
  readonly outputs: readonly ValueMetadata[];
}

/** How models are read. */
export interface ModelOptions extends SourceOptions {
  /** The layers of Keras sources that are wanted; all by default. */
  readonly only: readonly string[];
  /** The shapes of layers' inputs. */
  readonly shapes: GivenShapes;
}

/** A MODEL of the command line: `FILE` or `NAME=FILE`. */
interface Argument {
  readonly name?: string;
  readonly file: string;
}

const NAME = /^[\w.-]+$/;

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

async function readArgument(text: string): Promise<Argument> {
  const at = text.indexOf("=");
  // A file's name may have an "=", and a URL too.
  if (at < 0 || !NAME.test(text.slice(0, at)) || await exists(text)) {
    return { file: text };
  }
  return { name: text.slice(0, at), file: text.slice(at + 1) };
}

/** A name that URLs take as it is; a layer in nested models has a `/`. */
function urlName(name: string): string {
  return name.replace(/[^\w.-]+/g, "_");
}

/** Refuses what the worker could not read or write. */
function checkTypes(
  source: string,
  what: string,
  values: readonly ValueMetadata[],
): void {
  for (const { name, type } of values) {
    if (type === undefined || datatypeOf(type) !== undefined) continue;
    throw new UnsupportedError(
      `Cannot serve ${source}: its ${what} "${name}" is ${type}, which JSON has no form of; put a Cast from or to float32 beside it`,
    );
  }
}

/** Loads a model as the worker will, so that it cannot fail there. */
async function servable(
  model: Omit<ServableModel, "inputs" | "outputs">,
): Promise<ServableModel> {
  try {
    await using session = await createSession(model.model, {
      externalData: model.externalData,
    });
    const { inputMetadata: inputs, outputMetadata: outputs } = session;
    checkTypes(model.source, "input", inputs);
    checkTypes(model.source, "output", outputs);
    return { ...model, inputs, outputs };
  } catch (error) {
    if (
      !(error instanceof EvenkeelError) ||
      error.message.includes(model.source)
    ) throw error;
    throw new UnsupportedError(
      `Cannot serve ${model.source}: ${error.message}`,
      { cause: error },
    );
  }
}

async function onnxModel({ name, file }: Argument): Promise<ServableModel[]> {
  const { model, bytes } = await openOnnxFile(file);
  const stem = basename(file).replace(/\.onnx$/i, "");
  return [
    await servable({
      name: name ?? urlName(stem),
      model: bytes,
      externalData: await readExternal(file, model.externalLocations),
      source: file,
    }),
  ];
}

/** The shape of a layer's input: given, or as the source has it. */
function shapeOf(
  file: string,
  named: NamedLayer,
  shapes: GivenShapes,
): InputShape {
  const given = givenShape(shapes, named);
  if (given || named.certain) return given ?? named.shape;
  const { name, shape } = named;
  throw new UsageError(
    `Cannot tell the rank of the input of "${name}" from ${file}: pass it, with ? for extents that vary, such as --input-shape ${name}=${
      formatShape(shape)
    } if that is right`,
  );
}

/** The layer's ONNX model; a shape that does not fit is the caller's fault. */
function build(
  { name, layer }: NamedLayer,
  inputShape: InputShape,
  shapes: GivenShapes,
): Uint8Array {
  try {
    return buildOnnx(layer, { inputShape });
  } catch (error) {
    const isGiven = shapes.all || shapes.byLayer.has(name);
    if (!isGiven || !(error instanceof ShapeError)) throw error;
    throw shapeError(name, error);
  }
}

/** A built layer's parts; undefined if they are of a type without JSON. */
function partsOf(
  layer: BatchNormalization,
  shape: InputShape,
): LayerParts | undefined {
  const type = layer.options.dtype.compute;
  if (type !== "float32" && type !== "float64") return undefined;
  const { gamma, beta, movingMean, movingVariance } = layer;
  const given = Object.entries({ gamma, beta, movingMean, movingVariance })
    .filter(([, weight]) => weight !== undefined) as [
      keyof FrozenWeights,
      Tensor,
    ][];
  const Data = type === "float32" ? Float32Array : Float64Array;
  const length = movingMean.data.length;
  const all = new Data(length * given.length);
  given.forEach(([, { data }], i) => all.set(data as Float32Array, i * length));
  return {
    settings: {
      type,
      shape,
      axis: layer.axes!,
      epsilon: layer.effectiveEpsilon,
      weights: given.map(([name]) => name),
    },
    bytes: new Uint8Array(all.buffer),
  };
}

function layerModelOf(
  name: string | undefined,
  file: string,
  named: NamedLayer,
  shapes: GivenShapes,
): Promise<ServableModel> {
  const shape = shapeOf(file, named, shapes);
  // Builds the layer for this shape, which its epsilon depends on.
  const model = build(named, shape, shapes);
  const layer = partsOf(named.layer, shape);
  return servable({
    name: name ?? urlName(named.name),
    model,
    externalData: new Map(),
    ...(layer ? { layer } : {}),
    source: file,
    layerName: named.name,
  });
}

async function kerasModels(
  { name, file }: Argument,
  { shapes, ...options }: ModelOptions,
): Promise<ServableModel[]> {
  const { layers } = await openModel(file, options);
  if (layers.length === 0) {
    throw new UsageError(`${file} has no BatchNormalization layers to serve`);
  }
  if (name !== undefined && layers.length > 1) {
    throw new UsageError(
      `Cannot name ${file} "${name}": it has ${layers.length} BatchNormalization layers; choose one with --layer`,
    );
  }
  checkShapeNames(shapes, layers);
  return await Promise.all(
    layers.map((named) => layerModelOf(name, file, named, shapes)),
  );
}

/**
 * Reads models: an ONNX file is one, and so is each BatchNormalization of any
 * other source.
 *
 * @param texts `FILE` or `NAME=FILE` each.
 * @param options Which layers, and what the sources do not tell.
 *
 * @throws {UsageError} If two have the same name, or an option does not fit.
 * @throws {FormatError} If one cannot be read.
 * @throws {UnsupportedError} If one cannot be served.
 */
export async function readModels(
  texts: readonly string[],
  options: ModelOptions,
): Promise<ServableModel[]> {
  const models: ServableModel[] = [];
  for (const text of texts) {
    const argument = await readArgument(text);
    models.push(
      ...(/\.onnx$/i.test(argument.file)
        ? await onnxModel(argument)
        : await kerasModels(argument, options)),
    );
  }
  const names = models.map(({ name }) => name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0) {
    const [first, second] = models.filter(({ name }) => name === names[twice]);
    throw new UsageError(
      `Cannot serve two models as "${names[twice]}", of ${first!.source} and ${
        second!.source
      }: name one with NAME=FILE, or choose a layer with --layer`,
    );
  }
  return models;
}
