/**
 * The constructor's arguments, as given and as checked.
 *
 * @module
 */

import type { KernelChoice } from "../kernels/dispatch.ts";
import type { Tensor } from "../tensor.ts";
import type { Axis } from "./axis.ts";
import type { Constraint, ConstraintIdentifier } from "./constraints.ts";
import type { DtypePolicy } from "./dtype_policy.ts";
import type { Initializer, InitializerIdentifier } from "./initializers.ts";
import type { KerasObject } from "./keras_object.ts";
import type { KerasVersion } from "./keras_version.ts";
import type { Regularizer, RegularizerIdentifier } from "./regularizers.ts";

/** The bounds of batch renormalization's corrections; a missing one is off. */
export interface RenormClipping {
  /** The largest factor r. */
  readonly rmax?: number;
  /** The smallest factor r. */
  readonly rmin?: number;
  /** The largest magnitude of the summand d. */
  readonly dmax?: number;
}

/**
 * Keras' `adjustment`: gets the shape of the input and returns the factor and
 * the summand for the normalized values, broadcastable to the input; used in
 * training only.
 */
export type Adjustment = (
  shape: readonly number[],
) => readonly [scale: Tensor, bias: Tensor];

/**
 * The arguments of `tf.keras.layers.BatchNormalization`, in camelCase, and
 * two of our own: `kerasVersion` and `kernels`.
 */
export interface BatchNormalizationOptions {
  /** The axis, or axes, that keep their own statistics; default -1. */
  readonly axis?: Axis;
  /** The weight of the old value in the moving averages; default 0.99. */
  readonly momentum?: number;
  /** Added to the variance; default 0.001. */
  readonly epsilon?: number;
  /** Whether there is a beta; default true. */
  readonly center?: boolean;
  /** Whether there is a gamma; default true. */
  readonly scale?: boolean;
  /** Default `"zeros"`. */
  readonly betaInitializer?: InitializerIdentifier;
  /** Default `"ones"`. */
  readonly gammaInitializer?: InitializerIdentifier;
  /** Default `"zeros"`. */
  readonly movingMeanInitializer?: InitializerIdentifier;
  /** Default `"ones"`. */
  readonly movingVarianceInitializer?: InitializerIdentifier;
  /** Default none. */
  readonly betaRegularizer?: RegularizerIdentifier;
  /** Default none. */
  readonly gammaRegularizer?: RegularizerIdentifier;
  /** Default none. */
  readonly betaConstraint?: ConstraintIdentifier;
  /** Default none. */
  readonly gammaConstraint?: ConstraintIdentifier;
  /** Batch renormalization (Ioffe, 2017); default false. */
  readonly renorm?: boolean;
  /** The bounds of renormalization; default none. */
  readonly renormClipping?: RenormClipping | null;
  /** The momentum of renormalization's own averages; default 0.99. */
  readonly renormMomentum?: number;
  /** TensorFlow's fused path: true, false, or null (default) to let it choose. */
  readonly fused?: boolean | null;
  /** Whether the layer learns; a frozen one always runs inference. */
  readonly trainable?: boolean;
  /** The size of a ghost batch; default null, for none. */
  readonly virtualBatchSize?: number | null;
  /** A correction in training; default null, for none. */
  readonly adjustment?: Adjustment | null;
  /** Merge the moments of all replicas (TF 2.12 and later); default false. */
  readonly synchronized?: boolean;
  /** The layer's name; by default `"batch_normalization"` and a counter. */
  readonly name?: string | null;
  /**
   * What the layer computes in: `"float32"` (default), `"float64"`,
   * `"float16"`, `"bfloat16"`, `"mixed_float16"`, `"mixed_bfloat16"`, or
   * Keras' JSON of such a policy.
   */
  readonly dtype?: string | KerasObject | null;
  /** The input's shape without the batch; kept for the configuration. */
  readonly inputShape?: readonly (number | null)[] | null;
  /** The input's shape with the batch; kept for the configuration. */
  readonly batchInputShape?: readonly (number | null)[] | null;
  /** With `inputShape`, the size of the batch; default null. */
  readonly batchSize?: number | null;
  /** Short for `inputShape: [inputDim]`. */
  readonly inputDim?: number | null;
  /** Weights to set when the layer is built, in Keras' order. */
  readonly weights?: readonly Tensor[] | null;
  /** Adds a loss of the output, divided by the batch size; default none. */
  readonly activityRegularizer?: RegularizerIdentifier;
  /** Whether inputs are cast to the compute type; default true. */
  readonly autocast?: boolean;
  /** Kept for the configuration. */
  readonly dynamic?: boolean;
  /** Accepted for Keras 1 files; without effect. */
  readonly implementation?: number | null;
  /** Which Keras to follow where releases differ; default `"2.4"`. */
  readonly kerasVersion?: KerasVersion;
  /** Which kernels this layer runs on; default: what `setKernels` chose. */
  readonly kernels?: KernelChoice;
}

/**
 * {@linkcode BatchNormalizationOptions}, checked and complete.
 *
 * `fused` is after the constructor's rules: null means "if the rank allows".
 */
export interface ResolvedOptions extends
  Readonly<
    Required<
      Pick<
        BatchNormalizationOptions,
        | "axis"
        | "momentum"
        | "epsilon"
        | "center"
        | "scale"
        | "renorm"
        | "renormMomentum"
        | "fused"
        | "trainable"
        | "virtualBatchSize"
        | "adjustment"
        | "synchronized"
        | "name"
        | "batchInputShape"
        | "weights"
        | "autocast"
        | "dynamic"
        | "kerasVersion"
      >
    >
  > {
  /** What fills a new beta. */
  readonly betaInitializer: Initializer;
  /** What fills a new gamma. */
  readonly gammaInitializer: Initializer;
  /** What fills a new moving mean. */
  readonly movingMeanInitializer: Initializer;
  /** What fills a new moving variance. */
  readonly movingVarianceInitializer: Initializer;
  /** The penalty on beta, or null. */
  readonly betaRegularizer: Regularizer | null;
  /** The penalty on gamma, or null. */
  readonly gammaRegularizer: Regularizer | null;
  /** The projection of beta after updates, or null. */
  readonly betaConstraint: Constraint | null;
  /** The projection of gamma after updates, or null. */
  readonly gammaConstraint: Constraint | null;
  /** The penalty on the output, or null. */
  readonly activityRegularizer: Regularizer | null;
  /** The bounds of renormalization; empty without `renorm`. */
  readonly renormClipping: RenormClipping;
  /** What the layer computes in, and what its variables are. */
  readonly dtype: DtypePolicy;
  /** The layer's own choice of kernels, if it has one. */
  readonly kernels: KernelChoice | undefined;
}
