/**
 * A view over an ONNX file: what its messages say, and where they stand.
 *
 * Only what Evenkeel needs of the schema is decoded; tensors stay in the file
 * until they are read. Every view has its {@linkcode Place}, so that an edit
 * can replace a field and leave all other bytes, known to us or not.
 *
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
 *
 * @module
 */

import type { TensorView } from "./tensor_view.ts";
import type { WireField } from "./wire_reader.ts";

export { viewModel } from "./decode_model.ts";

/** Where a message stands in the file. */
export interface Place {
  /** The message that has it as a field; undefined for the whole file. */
  readonly parent: Place | undefined;
  /** Where its tag begins. */
  readonly start: number;
  /** Where its first field begins, behind tag and length. */
  readonly from: number;
  /** Where it ends. */
  readonly to: number;
  /** How many messages it stands in. */
  readonly depth: number;
}

/** A graph's input, output or intermediate value. */
export interface ValueView {
  readonly place: Place;
  readonly name: string;
  /** The `TensorProto.DataType`; undefined if it is no tensor or not told. */
  readonly elemType: number | undefined;
  /** The extents: a number, a name, or null if not told; undefined without rank. */
  readonly shape: readonly (number | string | null)[] | undefined;
}

/** An attribute of a node. Only the field that `type` names has a meaning. */
export interface AttributeView {
  readonly place: Place;
  readonly name: string;
  /** `AttributeProto.AttributeType`; older files do not have it. */
  readonly type: number | undefined;
  readonly f: number | undefined;
  readonly i: bigint | undefined;
  readonly s: Uint8Array | undefined;
  readonly t: TensorView | undefined;
  readonly g: GraphView | undefined;
  readonly floats: readonly number[];
  readonly ints: readonly bigint[];
  readonly strings: readonly Uint8Array[];
  readonly graphs: readonly GraphView[];
  /** In a function: the function's attribute that gives the value. */
  readonly refAttrName: string | undefined;
}

/** One call of an operator or function. */
export interface NodeView {
  readonly place: Place;
  readonly name: string;
  readonly opType: string;
  /** `""` for ONNX' own operators; `"ai.onnx"` is read as that. */
  readonly domain: string;
  readonly overload: string;
  /** Names of values; `""` for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** The inputs as fields of the file, to rename one. */
  readonly inputFields: readonly WireField[];
  readonly outputFields: readonly WireField[];
  readonly attributes: ReadonlyMap<string, AttributeView>;
}

/** What graphs and functions have in common. */
export interface Body {
  /** Where more fields of it can be appended. */
  readonly place: Place;
  readonly name: string;
  readonly nodes: readonly NodeView[];
}

/** A graph: the model's, or one in an attribute of If, Loop or Scan. */
export interface GraphView extends Body {
  readonly kind: "graph";
  readonly initializers: ReadonlyMap<string, TensorView>;
  /** Names of sparse initializers. */
  readonly sparse: ReadonlySet<string>;
  readonly inputs: readonly ValueView[];
  readonly outputs: readonly ValueView[];
  /** What is told of the values between, by name. */
  readonly valueInfo: ReadonlyMap<string, ValueView>;
}

/** A function that the model defines. */
export interface FunctionView extends Body {
  readonly kind: "function";
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly opsets: ReadonlyMap<string, number>;
  /** Attributes that have a value where a call gives none. */
  readonly defaults: ReadonlyMap<string, AttributeView>;
}

/** One `TrainingInfoProto`. */
export interface TrainingInfoView {
  readonly place: Place;
  readonly initialization: GraphView | undefined;
  readonly algorithm: GraphView | undefined;
  readonly initializationBinding: ReadonlyMap<string, string>;
  readonly updateBinding: ReadonlyMap<string, string>;
}

/** A whole file. */
export interface ModelView {
  readonly bytes: Uint8Array;
  readonly place: Place;
  readonly irVersion: number;
  readonly producerName: string;
  /** Versions by domain; ONNX' own is `""`. */
  readonly opsets: ReadonlyMap<string, number>;
  /** Where each version stands, to raise one. */
  readonly opsetPlaces: ReadonlyMap<string, Place>;
  readonly graph: GraphView;
  readonly functions: readonly FunctionView[];
  readonly trainingInfo: readonly TrainingInfoView[];
  readonly metadata: ReadonlyMap<string, string>;
}
