/**
 * The formats that `loadKeras` reads, in the order in which a file is tried.
 * A new one is one line here.
 *
 * @module
 */

import type { FormatReader } from "../contents/format_reader.ts";
import { HDF5_FORMAT, HDF5_WITH_USER_BLOCK } from "../hdf5/formats.ts";
import { NPY_FORMAT } from "../numpy/npy_format.ts";
import {
  CHECKPOINT_FORMAT,
  SAVED_MODEL_FORMAT,
} from "../tensorflow/formats.ts";
import { JSON_WEIGHTS_FORMAT } from "./json_weights.ts";
import { ONNX_FORMAT } from "./onnx_format.ts";
import { SAFETENSORS_FORMAT } from "./safetensors_format.ts";
import { SHARDED_FORMAT, TFJS_FORMAT } from "./sharded_formats.ts";
import { ZIP_FORMAT } from "./zip_formats.ts";

/** All formats. What is quick and sure to tell comes first. */
export const FORMATS: readonly FormatReader[] = [
  HDF5_FORMAT,
  ZIP_FORMAT,
  NPY_FORMAT,
  SAFETENSORS_FORMAT,
  SAVED_MODEL_FORMAT,
  ONNX_FORMAT,
  // Asks for the end of the file.
  CHECKPOINT_FORMAT,
  // Asks for the end of the file, or for many places in it.
  HDF5_WITH_USER_BLOCK,
  TFJS_FORMAT,
  SHARDED_FORMAT,
  // Any JSON that is nothing else.
  JSON_WEIGHTS_FORMAT,
];
