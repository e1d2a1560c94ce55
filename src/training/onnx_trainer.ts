/**
 * Trains ONNX models that say themselves how.
 *
 * @module
 */

import { OptionError, ShapeError, UnsupportedError } from "../errors.ts";
import { unknownOption } from "../known_options.ts";
import { checkTensor } from "../layer/input_spec.ts";
import { loadReference } from "../onnx/reference.ts";
import {
  type TrainingStep,
  trainingStep,
  type TrainingVariable,
  writeVariables,
} from "../onnx/training_graph/info_step.ts";
import { sameDims, type Tensor } from "../tensor.ts";
import { asTensors, type OnnxRunner } from "./onnx_runner.ts";

/** The options of {@linkcode OnnxTrainer.create}. */
export interface OnnxTrainerOptions {
  /** Loads a model to run it; by default into onnxruntime-web. */
  readonly load?: (model: Uint8Array) => Promise<OnnxRunner>;
  /** Which algorithm, if the model has several. */
  readonly index?: number;
  /**
   * Initializers besides those that the algorithm updates that `set` can
   * change, such as a learning rate; default none.
   */
  readonly adjustable?: readonly string[];
}

// A Record, so that the compiler notices an option that is missing here.
const KNOWN: Readonly<Record<keyof OnnxTrainerOptions, true>> = {
  load: true,
  index: true,
  adjustable: true,
};

function copyOf({ type, dims, data }: Tensor): Tensor {
  return { type, dims: [...dims], data: data.slice() };
}

/** Checks that a tensor can be the value of a variable. */
function checkValue({ name, value }: TrainingVariable, tensor: Tensor): void {
  checkTensor(tensor, `the value of "${name}"`);
  if (tensor.type !== value.type) {
    throw new OptionError(
      `Cannot set "${name}": expected ${value.type}, got ${tensor.type}`,
    );
  }
  if (!sameDims(tensor.dims, value.dims)) {
    throw new ShapeError(
      `Cannot set "${name}": expected shape [${value.dims.join(", ")}], got [${
        tensor.dims.join(", ")
      }]`,
    );
  }
}

/**
 * Trains a model by its `TrainingInfoProto`, ONNX' own form: runs its
 * algorithm together with its graph, step by step, and gives the initializers
 * that the algorithm is bound to their new values.
 *
 * The variables stay in memory between steps; `toOnnx` writes them into the
 * model.
 *
 * @example Train a layer in onnxruntime-web
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BatchNormalization, buildOnnxTraining, OnnxTrainer, tensor } from "@evenkeel/evenkeel";
 *
 * const layer = new BatchNormalization({ name: "bn", momentum: 0.5, epsilon: 0 });
 * const model = buildOnnxTraining(layer, { inputShape: [null, 1], learningRate: 0.5 });
 * await using trainer = await OnnxTrainer.create(model);
 * const { training_y } = await trainer.step({
 *   x: tensor([1, 3], [2, 1]),
 *   dy: tensor([0, 1], [2, 1]),
 * });
 * assertEquals([...training_y!.data], [-1, 1]);
 * assertEquals([...trainer.get("bn/scale").data], [0.5]); // 1 - 0.5 * 1
 * assertEquals([...trainer.get("bn/input_mean").data], [1]); // half-way from 0 to 2
 * ```
 */
export class OnnxTrainer implements AsyncDisposable {
  readonly #model: Uint8Array;
  readonly #step: TrainingStep;
  readonly #runner: OnnxRunner;
  #state: ReadonlyMap<string, Tensor>;
  #isRunning = false;

  private constructor(
    model: Uint8Array,
    step: TrainingStep,
    runner: OnnxRunner,
  ) {
    this.#model = model;
    this.#step = step;
    this.#runner = runner;
    this.#state = new Map(
      [...step.variables.values()].map(({ name, value }) => [name, value]),
    );
  }

  /**
   * Loads a model to train it.
   *
   * @param model The ONNX file, such as `buildOnnxTraining` writes; it must
   * not change while it is trained.
   * @param options What runs it, and which of its algorithms.
   * @returns The trainer; dispose it after use.
   *
   * @throws {FormatError} If it is no ONNX model, has no training
   * information, or binds what it does not have.
   * @throws {OptionError} If an option is unknown, or there is no such
   * algorithm or initializer.
   * @throws {UnsupportedError} If it has an initialization graph, variables
   * that are no floats or in another file, or cannot be run.
   */
  static async create(
    model: Uint8Array,
    options: OnnxTrainerOptions = {},
  ): Promise<OnnxTrainer> {
    const unknown = unknownOption(options, KNOWN);
    if (unknown) {
      throw new OptionError(`Cannot train the ONNX model: ${unknown}`);
    }
    const { load = loadReference, index, adjustable } = options;
    const step = trainingStep(model, { index, adjustable });
    return new OnnxTrainer(model, step, await load(step.bytes));
  }

  /** The names of what a step is given. */
  get inputNames(): readonly string[] {
    return this.#step.inputNames;
  }

  /** The names of what a step gives. */
  get outputNames(): readonly string[] {
    return this.#step.outputNames;
  }

  /** The names of the variables: initializers of the model or its algorithm. */
  get variableNames(): readonly string[] {
    return [...this.#state.keys()];
  }

  #variable(name: string): TrainingVariable {
    const variable = this.#step.variables.get(name);
    if (variable) return variable;
    throw new OptionError(
      `Cannot find the variable "${name}": expected ${
        this.variableNames.join(", ")
      }`,
    );
  }

  /**
   * The present value of a variable.
   *
   * @param name The initializer's name.
   * @returns A copy.
   *
   * @throws {OptionError} If there is no such variable.
   */
  get(name: string): Tensor {
    this.#variable(name);
    return copyOf(this.#state.get(name)!);
  }

  /**
   * Gives a variable another value, which is copied.
   *
   * @param name The initializer's name.
   * @param value The value, of the variable's type and shape.
   *
   * @throws {OptionError} If there is no such variable, it has another type,
   * or a step is under way.
   * @throws {ShapeError} If it has another shape.
   */
  set(name: string, value: Tensor): void {
    this.#checkIdle();
    checkValue(this.#variable(name), value);
    this.#state = new Map([...this.#state, [name, copyOf(value)]]);
  }

  #checkIdle(): void {
    if (!this.#isRunning) return;
    throw new OptionError(
      "Cannot change the ONNX model's variables: a step is under way, await it first",
    );
  }

  #checkFeeds(feeds: Readonly<Record<string, Tensor>>): void {
    const { inputNames } = this;
    const given = Object.keys(feeds);
    const missing = inputNames.filter((name) => !given.includes(name));
    const unknown = given.filter((name) => !inputNames.includes(name));
    if (missing.length + unknown.length > 0) {
      throw new OptionError(
        `Cannot train the ONNX model: expected ${inputNames.join(", ")}, got ${
          given.join(", ") || "nothing"
        }`,
      );
    }
  }

  /**
   * Makes one step: runs the algorithm and updates the variables.
   *
   * @param feeds A tensor per input.
   * @returns A tensor per output, the new values of variables among them.
   *
   * @throws {OptionError} If an input is missing or unknown, or a step is
   * under way. After any error the variables are as they were.
   * @throws {UnsupportedError} If the model gives a variable another type or
   * shape.
   */
  async step(
    feeds: Readonly<Record<string, Tensor>>,
  ): Promise<Readonly<Record<string, Tensor>>> {
    this.#checkIdle();
    this.#checkFeeds(feeds);
    this.#isRunning = true;
    try {
      const outputs = asTensors(
        await this.#runner.run({
          ...feeds,
          ...Object.fromEntries(this.#state),
        }),
      );
      this.#state = this.#updated(outputs);
      return outputs;
    } finally {
      this.#isRunning = false;
    }
  }

  #updated(
    outputs: Readonly<Record<string, Tensor>>,
  ): ReadonlyMap<string, Tensor> {
    const state = new Map(this.#state);
    for (const { name, output, value } of this.#step.variables.values()) {
      if (output === undefined) continue;
      const fresh = outputs[output];
      if (fresh?.type !== value.type || !sameDims(fresh.dims, value.dims)) {
        throw new UnsupportedError(
          `Cannot update "${name}" of the ONNX model: expected ${output} to be ${value.type} of shape [${
            value.dims.join(", ")
          }], got ${
            fresh ? `${fresh.type} of shape [${fresh.dims.join(", ")}]` : "none"
          }`,
        );
      }
      // The caller may change what it got.
      state.set(name, copyOf(fresh));
    }
    return state;
  }

  /**
   * The model with the present values of its variables, and all else as it
   * was: it runs inference, or is trained on.
   *
   * @returns The bytes of the ONNX file.
   */
  toOnnx(): Uint8Array<ArrayBuffer> {
    const { variables } = this.#step;
    return writeVariables(
      this.#model,
      [...this.#state].map(([name, value]) => [variables.get(name)!, value]),
    );
  }

  /** Frees the memory of what runs the model. */
  async dispose(): Promise<void> {
    await this.#runner.dispose?.();
  }

  /** Frees the memory of what runs the model. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
