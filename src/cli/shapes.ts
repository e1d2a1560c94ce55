/**
 * Shapes on the command line, and for a trial run.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { type InputShape, shapeOfRank } from "../keras/model/least_shape.ts";
import { type Option, UsageError } from "./command.ts";
import type { NamedLayer } from "./model.ts";

/** The option of sub-commands that need the shapes of layers' inputs. */
export const SHAPE_OPTION: Option = {
  type: "string",
  multiple: true,
  value: "SHAPE",
  help: "such as ?,28,28,64, ? for any; also LAYER=SHAPE",
};

/** The shapes that the command line gives. */
export interface GivenShapes {
  /** That of layers which have none of their own. */
  readonly all: InputShape | undefined;
  readonly byLayer: ReadonlyMap<string, InputShape>;
}

/**
 * Reads a shape: extents with commas, `?` for those that vary.
 *
 * @throws {UsageError} If it is anything else.
 */
export function parseShape(text: string): InputShape {
  return text.split(",").map((part) => {
    const extent = part.trim();
    // What Python and ONNX tools write for "any".
    if (["?", "-1", "None", "null"].includes(extent)) return null;
    if (!/^\d+$/.test(extent) || Number(extent) === 0) {
      throw new UsageError(
        `Cannot read the input shape "${text}": expected positive integers and ? with commas between, such as ?,224,224,64; got "${part}"`,
      );
    }
    return Number(extent);
  });
}

/**
 * Reads all `--input-shape`.
 *
 * @throws {UsageError} If one is no shape, or is there twice.
 */
export function readShapes(texts: readonly string[] = []): GivenShapes {
  let all: InputShape | undefined;
  const byLayer = new Map<string, InputShape>();
  for (const text of texts) {
    // A shape has no "=", a name can have some.
    const at = text.lastIndexOf("=");
    const name = text.slice(0, Math.max(0, at));
    const shape = parseShape(text.slice(at + 1));
    if (at < 0 ? all : byLayer.has(name)) {
      throw new UsageError(
        `Cannot use --input-shape ${text}: there is another one ${
          at < 0
            ? "for all layers; write LAYER=SHAPE for one of them"
            : `for layer "${name}"`
        }`,
      );
    }
    if (at < 0) all = shape;
    else byLayer.set(name, shape);
  }
  return { all, byLayer };
}

/**
 * Checks that all layers with a shape are there.
 *
 * @throws {UsageError} If one is not.
 */
export function checkShapeNames(
  { byLayer }: GivenShapes,
  layers: readonly NamedLayer[],
): void {
  for (const name of byLayer.keys()) {
    if (layers.some((each) => each.name === name)) continue;
    throw new UsageError(
      `Cannot use --input-shape ${name}=...: there is no layer "${name}", expected one of ${
        layers.map(({ name }) => `"${name}"`).join(", ")
      }`,
    );
  }
}

/** The error for a shape from the command line that a layer cannot take. */
export function shapeError(name: string, cause: Error): UsageError {
  return new UsageError(
    `Cannot use that --input-shape for layer "${name}": ${cause.message}`,
    { cause },
  );
}

/**
 * The shape that is given for a layer, with the layer's channels where it has
 * `?`; undefined if none is.
 *
 * @throws {UsageError} If it does not fit the layer.
 */
export function givenShape(
  { all, byLayer }: GivenShapes,
  { name, layer }: NamedLayer,
): InputShape | undefined {
  const given = byLayer.get(name) ?? all;
  if (!given) return undefined;
  try {
    const own = shapeOfRank(layer, given.length);
    return given.map((extent, d) => extent ?? own[d]!);
  } catch (error) {
    if (error instanceof ShapeError) throw shapeError(name, error);
    throw error;
  }
}

/** A shape as `--input-shape` takes it. */
export function formatShape(shape: InputShape): string {
  return shape.map((extent) => extent ?? "?").join(",");
}

/** A shape with every varying extent set, for a trial run. */
export function concreteShape(
  shape: InputShape,
  batch: number,
  extent: number,
): number[] {
  return shape.map((known, d) => known ?? (d === 0 ? batch : extent));
}
