/**
 * Batches from NumPy files.
 *
 * @module
 */

import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { FormatError } from "../errors.ts";
import { parseNpy, tensorOfStored } from "../keras/numpy/npy.ts";
import type { OnnxInput } from "../onnx/onnx_model.ts";
import { castTensor, isElementType, sameDims, type Tensor } from "../tensor.ts";
import { UsageError } from "./command.ts";

/** The .npy files of a folder in the order of their names, or the one file. */
async function filesOf(path: string): Promise<string[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw new FormatError(
      `Cannot read "${path}": ${(cause as Error).message}`,
      { cause },
    );
  }
  if (!isFolder) return [path];
  const names = (await readdir(path)).filter((name) => name.endsWith(".npy"));
  if (names.length === 0) {
    throw new FormatError(`Cannot read "${path}": it has no .npy files`);
  }
  return names.sort().map((name) => join(path, name));
}

async function readNpy(path: string): Promise<Tensor> {
  const what = `"${path}"`;
  return tensorOfStored(parseNpy(await readFile(path), what), what);
}

/** Some samples of an array. */
function slice({ type, dims, data }: Tensor, from: number, to: number): Tensor {
  const [, ...sample] = dims;
  const size = sample.reduce((a, b) => a * b, 1);
  return {
    type,
    dims: [to - from, ...sample],
    data: data.slice(from * size, to * size) as Tensor["data"],
  };
}

/** Samples of one shape as a batch. */
function stack(samples: readonly Tensor[]): Tensor {
  const [{ type, dims, data }] = samples as [Tensor];
  const Data = data.constructor as { new (length: number): Tensor["data"] };
  const all = new Data(data.length * samples.length);
  samples.forEach((sample, i) =>
    (all as Float32Array).set(sample.data as Float32Array, i * data.length)
  );
  return { type, dims: [samples.length, ...dims], data: all };
}

/** How many samples an input takes; undefined if that varies. */
function fixedCount({ shape }: OnnxInput): number | undefined {
  const first = shape?.[0];
  // Some write -1 for an extent that varies.
  return typeof first === "number" && first > 0 ? first : undefined;
}

/**
 * How many samples are run together, at most.
 *
 * @param input The input that they are for.
 * @param asked What the user asks for.
 *
 * @throws {UsageError} If the input takes another number only.
 */
export function batchSizeFor(
  input: OnnxInput,
  asked: number | undefined,
): number {
  const fixed = fixedCount(input);
  if (fixed === undefined) return asked ?? 32;
  if (asked === undefined || asked === fixed) return fixed;
  throw new UsageError(
    `Cannot use --batch-size ${asked}: the input "${input.name}" is [${input.shape}], it takes ${fixed} at a time; leave the option out`,
  );
}

/**
 * Checks that an input takes as many samples as a batch has; what the runtime
 * says would not tell.
 */
function checkCount({ dims }: Tensor, input: OnnxInput, file: string): void {
  const fixed = fixedCount(input);
  if (fixed === undefined || dims[0] === fixed) return;
  throw new FormatError(
    `Cannot use "${file}": the input "${input.name}" takes ${fixed} samples at a time, at its end there are ${
      dims[0]
    }; leave them out, or add some`,
  );
}

/**
 * The batches of a file or folder of NumPy arrays, read when they are needed;
 * they can be gone through any number of times.
 *
 * An array of the input's rank is several samples, cut into batches; one of a
 * rank less is one sample, and such are put together.
 *
 * @param path A .npy file, or a folder of them.
 * @param input The input that they are for.
 * @param batchSize The samples of a batch.
 *
 * @throws {FormatError} If there are none, or one cannot be read, has another
 * rank, or leaves samples over where the input takes a number of them; when
 * they are read.
 */
export async function npyBatches(
  path: string,
  input: OnnxInput,
  batchSize: number,
): Promise<AsyncIterable<Tensor>> {
  const { name, type, shape } = input;
  const files = await filesOf(path);
  const checked = (batch: Tensor, file: string) => {
    checkCount(batch, input, file);
    return batch;
  };
  async function* batches(): AsyncGenerator<Tensor> {
    let samples: Tensor[] = [];
    let last = path;
    for (const file of files) {
      const read = await readNpy(file);
      const array = isElementType(type) ? castTensor(read, type) : read;
      const { dims } = array;
      const [first] = samples;
      const isSample = shape !== undefined && dims.length === shape.length - 1;
      if (shape && !isSample && dims.length !== shape.length) {
        throw new FormatError(
          `Cannot use "${file}": expected an array of rank ${shape.length}, or ${
            shape.length - 1
          } for one sample, as the input "${name}" has, got [${dims}]`,
        );
      }
      const isFull = samples.length === batchSize;
      if (first && (!isSample || isFull || !sameDims(first.dims, dims))) {
        yield checked(stack(samples), last);
        samples = [];
      }
      if (isSample) {
        samples.push(array);
        last = file;
        continue;
      }
      const count = dims[0]!;
      for (let from = 0; from < count; from += batchSize) {
        const to = Math.min(from + batchSize, count);
        yield checked(slice(array, from, to), file);
      }
    }
    if (samples.length > 0) yield checked(stack(samples), last);
  }
  return { [Symbol.asyncIterator]: batches };
}
