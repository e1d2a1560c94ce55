/**
 * The formats that files are told apart by.
 *
 * @module
 */

/**
 * The format of a file:
 *
 * | | |
 * |---|---|
 * | `"h5"` | a whole model in HDF5: `model.save("x.h5")`, Keras 1 to 3 |
 * | `"h5-weights"` | its weights only: `model.save_weights("x.h5")`, Keras 1 and 2 |
 * | `"keras"` | a whole model as zip: `model.save("x.keras")`, Keras 2.12 and later |
 * | `"weights.h5"` | its weights only: `model.save_weights("x.weights.h5")` |
 * | `"weights.json"` | weights only, in shards: `model.save_weights("x.weights.json", max_shard_size=1)` |
 * | `"tfjs-layers"` | TensorFlow.js layers: `model.json` and the files that it names |
 * | `"tfjs-graph"` | TensorFlow.js graph models, which have operators instead of layers |
 * | `"npz"` | NumPy arrays by name or number: `np.savez("x.npz", *layer.get_weights())` |
 * | `"npy"` | one NumPy array, of which each row is a variable |
 * | `"safetensors"` | arrays by name |
 * | `"tf-checkpoint"` | TensorFlow's checkpoints of objects: `model.save_weights("ckpt")` in Keras 2, `tf.train.Checkpoint` |
 * | `"tf-checkpoint-v1"` | those of names: `tf.train.Saver` of TensorFlow 1 |
 * | `"saved-model"` | TensorFlow's SavedModel: `model.save("folder")` in Keras 2, `model.export("folder")` in Keras 3 |
 * | `"onnx"` | an ONNX model, of which each BatchNormalization node is a layer |
 * | `"json"` | nested lists of numbers, by name or number |
 */
export type KerasFormat =
  | "h5"
  | "h5-weights"
  | "keras"
  | "weights.h5"
  | "weights.json"
  | "tfjs-layers"
  | "tfjs-graph"
  | "npz"
  | "npy"
  | "safetensors"
  | "tf-checkpoint"
  | "tf-checkpoint-v1"
  | "saved-model"
  | "onnx"
  | "json";
