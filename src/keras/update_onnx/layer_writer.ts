/**
 * The constants that Keras layers give a graph.
 *
 * @module
 */

import { UnsupportedError } from "../../errors.ts";
import { writeNumber } from "../../onnx/attributes.ts";
import type { Constant } from "../../onnx/constants.ts";
import type { Edits } from "../../onnx/edit.ts";
import { type FoundNode, ROLES } from "../../onnx/find.ts";
import { type FoldedForm, insertBias } from "../../onnx/folded_form.ts";
import { insertAdd, type LinearForm } from "../../onnx/linear_form.ts";
import {
  type FloatInput,
  readFloatInput,
} from "../../onnx/linear_form_input.ts";
import type { OpenModel } from "../../onnx/open.ts";
import { operatorParameters } from "../../onnx/parameters.ts";
import type { Scope, Value } from "../../onnx/scopes.ts";
import {
  type ConstantWrite,
  hasBits,
  writeConstants,
} from "../../onnx/write_constants.ts";
import { type Tensor, tensorLike, widen } from "../../tensor.ts";
import { affineOf } from "./layers.ts";
import type { FoundPair } from "./pair_layers.ts";
import { foldedValues } from "./values.ts";

/** A write, and what is there now. */
type Change = ConstantWrite & { readonly old: Tensor };

/** Shape and type of a constant. */
type Like = Pick<Tensor, "type" | "dims">;

/** Numbers as a constant, each rounded once. */
function tensorOf(
  what: string,
  { type, dims }: Like,
  values: Float64Array,
): Tensor {
  const empty = { type, dims, data: new Float32Array() };
  const tensor = tensorLike(empty, values);
  if (!widen(tensor).every(Number.isFinite)) {
    throw new UnsupportedError(
      `Cannot update ${what}: its new values are not finite in ${type}`,
    );
  }
  return tensor;
}

/** Collects what changes, and writes it at once: constants may be shared. */
export class LayerWriter {
  readonly #edits: Edits;
  readonly #open: OpenModel;
  readonly #changes: Change[] = [];

  constructor(edits: Edits, open: OpenModel) {
    this.#edits = edits;
    this.#open = open;
  }

  /**
   * Takes a layer.
   *
   * @throws {UnsupportedError} If a value is not finite in the graph's type.
   * @throws {FormatError} If a kernel cannot be read.
   */
  async add(pair: FoundPair): Promise<void> {
    const { site } = pair;
    switch (site.kind) {
      case "op":
        return this.#addOp(pair, site.op);
      case "linear":
        return this.#addLinear(pair, site.linear);
      case "folded":
        return await this.#addFolded(pair, site.folded);
    }
  }

  /** Writes all that was taken. */
  write(): void {
    const groups = new Map<Value, Change[]>();
    for (const change of this.#changes) {
      const { origin } = change.constant;
      groups.set(origin, [...groups.get(origin) ?? [], change]);
    }
    // What shares a constant with something that changes is written with it,
    // so that it is known who else reads it.
    const writes = [...groups.values()].filter((group) =>
      group.some(({ tensor, old }) => !hasBits(tensor, old))
    );
    const { view, scopes } = this.#open;
    writeConstants(this.#edits, view, scopes, writes.flat());
  }

  #change(
    scope: Scope,
    { node, position }: Pick<FloatInput, "node" | "position">,
    constant: Constant,
    old: Tensor,
    name: string,
    what: string,
    values: Float64Array,
  ): void {
    const tensor = tensorOf(what, old, values);
    const { names } = this.#open.scopes;
    let free = name;
    const isTaken = (): boolean =>
      names.has(free) || this.#changes.some((other) => other.name === free);
    for (let i = 1; isTaken(); i++) free = `${name}_${i}`;
    this.#changes.push({
      scope,
      node,
      position,
      constant,
      tensor,
      old,
      name: free,
    });
  }

  #changeInput(
    input: FloatInput,
    name: string,
    what: string,
    values: Float64Array,
  ): void {
    const old = readFloatInput(input, this.#open.external);
    this.#change(input.scope, input, input.constant, old, name, what, values);
  }

  #addOp({ layer: { layer, key }, site }: FoundPair, found: FoundNode): void {
    const parameters = operatorParameters(layer);
    const { scale, B, inputMean, inputVar } = parameters;
    const vectors = [scale, B, inputMean, inputVar];
    ROLES.forEach((role, i) => {
      const { tensor, constant } = found.parameters[role];
      this.#change(
        found.scope,
        { node: found.node, position: i + 1 },
        constant!,
        tensor!,
        `${site.name}/${role}`,
        `${role} of "${site.name}" from layer "${key}"`,
        Float64Array.from(vectors[i]!),
      );
    });
    const numbers = {
      epsilon: parameters.epsilon,
      momentum: layer.options.momentum,
    };
    for (const name of ["epsilon", "momentum"] as const) {
      if (Math.fround(numbers[name]) !== found[name]) {
        writeNumber(this.#edits, found.node, { name, f: numbers[name] });
      }
    }
  }

  #addLinear({ layer, site, way }: FoundPair, form: LinearForm): void {
    const { scale, shift } = affineOf(layer.layer);
    const inOrder = (values: Float64Array): Float64Array =>
      Float64Array.from(way, (channel) => values[channel]!);
    const from = `from layer "${layer.key}"`;
    this.#changeInput(
      form.factor,
      `${site.name}/factor`,
      `the factor of "${site.name}" ${from}`,
      inOrder(scale),
    );
    const what = `the summand of "${site.name}" ${from}`;
    if (form.summand) {
      const name = `${site.name}/summand`;
      this.#changeInput(form.summand, name, what, inOrder(shift));
    } else if (shift.some((value) => value !== 0)) {
      const { scope, factor } = form;
      const summand = tensorOf(what, factor, inOrder(shift));
      insertAdd(this.#edits, this.#open, scope, factor.node, summand);
    }
  }

  async #addFolded(
    { layer, site }: FoundPair,
    form: FoldedForm,
  ): Promise<void> {
    const values = await foldedValues(layer, form, affineOf(layer.layer));
    const from = `from layer "${layer.key}"`;
    this.#changeInput(
      form.weight,
      `${site.name}/weight`,
      `the weight of "${site.name}" ${from}`,
      values.weight,
    );
    const what = `the bias of "${site.name}" ${from}`;
    if (form.bias) {
      this.#changeInput(form.bias, `${site.name}/bias`, what, values.bias);
    } else if (values.bias.some((value) => value !== 0)) {
      const { type } = form.weight;
      const bias = tensorOf(what, { type, dims: [form.channels] }, values.bias);
      insertBias(this.#edits, this.#open, form, bias);
    }
  }
}
