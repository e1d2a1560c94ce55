/**
 * How TensorFlow's checkpoints and SavedModels are told and opened.
 *
 * @module
 */

import type { FormatReader } from "../contents/format_reader.ts";
import { isTableIndex } from "../tensor_bundle/table.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { isSavedModel, openSavedModel } from "./saved_model.ts";

/** The bytes of a table's magic number. */
const MAGIC_BYTES = 8;

/** A checkpoint's `.index`. */
export const CHECKPOINT_FORMAT: FormatReader = {
  what: "the .index of a TensorFlow checkpoint",
  rank: 1,
  async detect({ file }) {
    const start = file.size - MAGIC_BYTES;
    return start >= 0 && isTableIndex(await file.read(start, MAGIC_BYTES));
  },
  open: (file, folder) => openCheckpoint(file, (name) => folder.open(name)),
};

/** A SavedModel's `saved_model.pb`, which has no signature but its name. */
export const SAVED_MODEL_FORMAT: FormatReader = {
  what: "a SavedModel's saved_model.pb",
  rank: 2,
  detect: ({ file }) => isSavedModel([file.name]),
  open: (_file, folder) => openSavedModel((name) => folder.open(name)),
};
