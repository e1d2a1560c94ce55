/**
 * Which versions of ONNX are written.
 *
 * @module
 */

/**
 * The versions of the file format (IR) by the opset that was released with
 * them, from `VERSION_TABLE` in onnx's `helper.py`: a runtime that knows the
 * opset knows the format.
 */
const IR_VERSIONS: ReadonlyMap<number, number> = new Map([
  [7, 3],
  [8, 3],
  [9, 4],
  [10, 5],
  [11, 6],
  [12, 7],
  [13, 7],
  [14, 7],
  [15, 8],
  [16, 8],
  [17, 8],
  [18, 8],
  [19, 9],
  [20, 9],
  [21, 10],
  [22, 10],
  [23, 11],
  [24, 12],
  [25, 13],
  [26, 13],
]);

/** The first opset with BatchNormalization as it is today in inference. */
export const OLDEST_OPSET = 7;

/** The first opset without `is_test`, which told the mode before. */
export const IS_TEST_REMOVAL_OPSET = 7;

/** The first opset without `spatial`: statistics are those of channels only. */
export const SPATIAL_REMOVAL_OPSET = 9;

/** The first opset whose operators broadcast as NumPy does, without attributes. */
export const BROADCAST_OPSET = 7;

/**
 * The first opset where an input tells Dropout's mode; since `is_test` was
 * removed, there is inference only.
 */
export const DROPOUT_INPUT_OPSET = 12;

/** The newest opset that onnxruntime-web 1.30 loads; it refuses 27. */
export const NEWEST_OPSET = 26;

/**
 * The opset that is written by default: 15, the last to change the operator's
 * types, read by every onnxruntime since 1.10 (2021), and what tf2onnx writes
 * by default.
 */
export const DEFAULT_OPSET = 15;

/** The first opset whose operators take bfloat16 (Cast, Reshape, Transpose). */
export const BFLOAT16_OPSET = 13;

/** The first opset where Squeeze and Unsqueeze get their axes as an input. */
export const AXES_INPUT_OPSET = 13;

/** The first opset where ReduceSum gets its axes as an input. */
export const REDUCE_SUM_INPUT_OPSET = 13;

/** The first opset where the other reductions get their axes as an input. */
export const REDUCE_INPUT_OPSET = 18;

/** The first opset whose Max and Min broadcast. */
export const BROADCAST_MAX_OPSET = 8;

/** The first opset with Where. */
export const WHERE_OPSET = 9;

/**
 * The first opset where BatchNormalization has `training_mode` and three
 * outputs; before, five outputs mean training.
 */
export const TRAINING_MODE_OPSET = 14;

/** The first opset whose file format has `TrainingInfoProto`. */
export const TRAINING_INFO_OPSET = 12;

/** The first format in which models name the opsets that they import. */
export const OPSET_IR_VERSION = 3;

/** The first format in which constants need not be listed as graph inputs. */
export const CONSTANT_IR_VERSION = 4;

/** The version of the file format for an opset, or undefined out of range. */
export function irVersionOf(opset: number): number | undefined {
  return IR_VERSIONS.get(opset);
}
