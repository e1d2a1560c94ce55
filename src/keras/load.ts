/**
 * `loadKeras`: the BatchNormalization layers of a Keras file.
 *
 * @module
 */

import { type KerasSource, openSource } from "./files/source.ts";
import { openContents } from "./formats/detect.ts";
import { checkLoadOptions } from "./load/options.ts";
import { readModel } from "./load/read_model.ts";
import type { KerasModel, LoadKerasOptions } from "./load/types.ts";

/**
 * Loads the BatchNormalization layers of a Keras file, with their weights.
 *
 * Reads whole models and weights of Keras 1 to 3, TensorFlow's and
 * TensorFlow.js', arrays of NumPy, safetensors and JSON, and ONNX models
 * (`KerasFormat` lists them), and tells them apart by content. Of
 * other layers, no weight is read. Each layer follows the release that wrote
 * the file (its option `kerasVersion`).
 *
 * A file of weights only says little about its layers. Without the option
 * `config`, a layer is recognized by the names of its variables or, failing
 * that, by their number, shapes and signs; {@linkcode KerasLayer} has the
 * reason, and the settings that were assumed. What could be something else is
 * listed there and not loaded, until the option `layers` names it.
 *
 * A path needs the permission to read it; nothing else is needed, and nothing
 * is written. Files that name others, such as shards, find them in their own
 * folder or below it, and nowhere else.
 *
 * Of a file, only what is needed is read, wherever it is: what describes its
 * variables, and those of the layers; ONNX models and compressed weights are
 * read as a whole. Behind a URL, a server that answers range requests is asked
 * for blocks of 64 KiB, each once, and neighbouring ones together. Of a server
 * that does not, the file is downloaded, up to 2 GiB.
 *
 * @param source A path, a URL (`file:`, `http:` or `https:`), the bytes of a
 * file, a `Blob` or `File`, or a map of a model's files by name; a path or URL
 * can also be that of a SavedModel's or TensorFlow.js model's folder, or of a
 * checkpoint without its `.index`.
 * @param options What the file does not tell.
 * @returns All layers that the file describes, and the loaded ones by
 * {@linkcode KerasLayer.key}: the names from the outermost layer down, joined
 * with `/`.
 *
 * @throws {FormatError} If there is no such file, it is no Keras file or
 * damaged, or a weight is missing, of a wrong type or of a wrong shape; the
 * message then names layer and weight. Only what is read can be found damaged:
 * weights of more than 1 MiB that an archive stores uncompressed are not
 * compared with its checksum, which is that of all of them.
 * @throws {OptionError} If an option is unknown or invalid, names a layer that
 * the file does not have, or leaves something open.
 * @throws {UnsupportedError} If the option `layers` names a layer that is no
 * batch normalization.
 *
 * @example Run a layer of a model
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { loadKeras, tensor } from "@evenkeel/evenkeel";
 *
 * const model = await loadKeras("testdata/keras/tfk_sequential.h5");
 * const layer = model.batchNormalizations.get("batch_normalization")!;
 * const y = layer.call(tensor([1, 2, 3, 4, 5, 6], [1, 6]));
 * assertEquals(y.dims, [1, 6]);
 * ```
 */
export async function loadKeras(
  source: KerasSource,
  options: LoadKerasOptions = {},
): Promise<KerasModel> {
  checkLoadOptions(options);
  const files = await openSource(source, { signal: options.signal });
  try {
    const contents = await openContents(files);
    try {
      return await readModel(contents, options);
    } finally {
      contents.close();
    }
  } finally {
    await files.close();
  }
}
