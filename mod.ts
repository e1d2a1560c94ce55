/**
 * Keras BatchNormalization anywhere, and its ONNX form.
 *
 * Loads the weights that Keras exports, runs the layer on typed-array and
 * WASM SIMD kernels, bit for bit as onnxruntime-web does, and writes it as an
 * ONNX model.
 *
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ axis: -1, epsilon: 0 });
 * const y = layer.call(tensor([1, 2, 3, 4], [2, 2]));
 * assertEquals([...y.data], [1, 2, 3, 4]);
 * ```
 *
 * @module
 */

export * from "./src/errors.ts";
export {
  type ElementType,
  type Tensor,
  tensor,
  type TensorData,
} from "./src/tensor.ts";
export { allocate } from "./src/kernels/allocate.ts";
export {
  type KernelChoice,
  setKernels,
  type SetKernelsOptions,
} from "./src/kernels/dispatch.ts";
export type { KernelName, KernelSource } from "./src/kernels/types.ts";
export { BatchNormalization } from "./src/layer/batch_normalization.ts";
export type { GradientSums } from "./src/layer/backward.ts";
export type {
  BackwardOptions,
  CallOptions,
  FromConfigOptions,
  Gradients,
} from "./src/layer/call_options.ts";
export {
  type ChannelMoments,
  mergeMoments,
} from "./src/layer/channel_moments.ts";
export type { LayerVariables } from "./src/layer/layer_variables.ts";
export type { Axis } from "./src/layer/axis.ts";
export type { KerasConfig } from "./src/layer/config.ts";
export type { DtypePolicy } from "./src/layer/dtype_policy.ts";
export type { KerasVersion } from "./src/layer/keras_version.ts";
export type {
  Adjustment,
  BatchNormalizationOptions,
  RenormClipping,
  ResolvedOptions,
} from "./src/layer/options.ts";
export type {
  JsonObject,
  JsonValue,
  KerasObject,
  Serializable,
  SerializedObject,
} from "./src/layer/keras_object.ts";
export type { ResolveOptions } from "./src/layer/object_family.ts";
export * from "./src/layer/initializers.ts";
export * from "./src/layer/regularizers.ts";
export * from "./src/layer/constraints.ts";
export type { NamedScaling } from "./src/layer/named_scalings.ts";
export type { NormAxis, NormConstraint } from "./src/layer/norm_constraints.ts";
export type { Penalty } from "./src/layer/penalties.ts";
export { RandomGenerator } from "./src/layer/random.ts";
export type { WeightName } from "./src/layer/weights.ts";
export { loadKeras } from "./src/keras/load.ts";
export type { KerasSource } from "./src/keras/files/source.ts";
export { writeKeras } from "./src/keras/write.ts";
export type { WriteKerasFormat, WriteKerasOptions } from "./src/keras/write.ts";
export {
  type KerasPair,
  type KerasPairing,
  pairKeras,
  type UnpairedLayer,
  type UpdatedFromKeras,
  updateFromKeras,
} from "./src/keras/update_onnx.ts";
export type { PairEvidence } from "./src/keras/update_onnx/pair_layers.ts";
export type { PairForm } from "./src/keras/update_onnx/sites.ts";
export type { PairOptions } from "./src/keras/update_onnx/options.ts";
export { writeTfjs } from "./src/keras/write_tfjs.ts";
export type { InputShape } from "./src/keras/model/least_shape.ts";
export type { WriteModelOptions } from "./src/keras/write/model.ts";
export {
  type ReplaceSource,
  replaceWeights,
  type ReplaceWeightsOptions,
} from "./src/keras/replace_weights.ts";
export type { KerasFormat } from "./src/keras/contents/keras_format.ts";
export type {
  KerasLayer,
  KerasModel,
  KerasWeight,
  LoadKerasOptions,
} from "./src/keras/load/types.ts";
export { buildOnnx } from "./src/onnx/build.ts";
export type {
  BuildOnnxOptions,
  OnnxForm,
  OnnxState,
} from "./src/onnx/build_options.ts";
export {
  buildOnnxGradient,
  type BuildOnnxGradientOptions,
} from "./src/onnx/training_graph/gradient.ts";
export { buildOnnxTraining } from "./src/onnx/training_graph/info.ts";
export type {
  BuildOnnxTrainingOptions,
  OnnxLoss,
} from "./src/onnx/training_graph/info_options.ts";
export {
  type OnnxBatchNormalization,
  type OnnxInput,
  OnnxModel,
  openOnnx,
  type OpenOnnxOptions,
} from "./src/onnx/onnx_model.ts";
export type {
  ExternalData,
  ExternalDataSource,
} from "./src/onnx/external_data.ts";
export { externalFiles } from "./src/onnx/external_files.ts";
export type { FoldedNode, FoldResult, KeptNode } from "./src/onnx/fold/fold.ts";
export type { Role } from "./src/onnx/find.ts";
export type {
  NodeStatistics,
  ToInferenceOptions,
} from "./src/onnx/to_inference.ts";
export type { ToTrainingOptions } from "./src/onnx/to_training.ts";
export type { NodeUpdate, NodeUpdates, VectorLike } from "./src/onnx/update.ts";
export {
  Adam,
  AdamW,
  type OptimizerIdentifier,
  resolveOptimizer,
  type ResolveOptimizerOptions,
  RMSprop,
  SGD,
} from "./src/training/optimizers.ts";
export type {
  Optimizer,
  OptimizerOptions,
  OptimizerSlot,
  OptimizerState,
  OptimizerVariable,
} from "./src/training/optimizer.ts";
export {
  KerasOptimizer,
  type UpdateContext,
} from "./src/training/keras_optimizer.ts";
export type { Round } from "./src/training/rounding.ts";
export type { AdamOptions } from "./src/training/adam.ts";
export type { SGDOptions } from "./src/training/sgd.ts";
export type { RMSpropOptions } from "./src/training/rmsprop.ts";
export {
  OnnxTrainer,
  type OnnxTrainerOptions,
} from "./src/training/onnx_trainer.ts";
export type {
  Feed,
  OnnxRunner,
  RunnerOutput,
} from "./src/training/onnx_runner.ts";
export { recalibrate } from "./src/training/recalibrate.ts";
export type {
  Batch,
  Batches,
  LayerShift,
  RecalibrateMode,
  RecalibrateOptions,
  RecalibrateProgress,
  RecalibrateReport,
} from "./src/training/recalibrate_options.ts";
export type { OnnxTensor } from "./src/onnx/tensor_view.ts";
export type { OnnxData, OnnxType } from "./src/onnx/element_types.ts";
export {
  trainStep,
  type TrainStepOptions,
  type TrainStepResult,
} from "./src/training/train_step.ts";
export {
  type ApplyOptions,
  TrainingState,
  type TrainingStateOptions,
} from "./src/training/training_state.ts";
export type {
  StateOnnxOptions,
  UpdateOnnxOptions,
} from "./src/training/state_onnx.ts";
export { createSession, Session } from "./src/session/session.ts";
export type {
  Fetches,
  SessionOptions,
  SessionOutput,
  SessionTensor,
  ValueMetadata,
} from "./src/session/types.ts";
export {
  type OnnxruntimeBackend,
  onnxruntimeBackend,
  type OnnxruntimeHandler,
  type OnnxruntimeSessionOptions,
  type OnnxruntimeValue,
} from "./src/session/backend.ts";
export { SESSION_OPERATORS } from "./src/session/ops/table.ts";
