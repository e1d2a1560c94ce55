/**
 * Finds the operator of a node and lets it read the node.
 *
 * @module
 */

import { FormatError, UnsupportedError } from "../errors.ts";
import type { Kernels } from "../kernels/types.ts";
import type { ExternalData } from "../onnx/external_data.ts";
import { Attributes } from "./attributes.ts";
import type { NodeCall } from "./calls.ts";
import type { OperatorNode } from "./ops/operator.ts";
import { NEWEST_OPSET, operatorNamed, SESSION_OPERATORS } from "./ops/table.ts";
import type { ProgramNode } from "./program.ts";

/** A node of a program, with what it was made from. */
export interface LoadedNode extends ProgramNode {
  readonly call: NodeCall;
  readonly operatorNode: OperatorNode;
}

/** How many inputs or outputs a node must have. */
function range([fewest, most]: readonly [number, number]): string {
  if (fewest === most) return String(fewest);
  return most === Infinity ? `${fewest} or more` : `${fewest} to ${most}`;
}

/**
 * Loads a node.
 *
 * @throws {FormatError} If it is not what its operator says.
 * @throws {UnsupportedError} If the session has not its operator.
 */
export function loadOperator(
  call: NodeCall,
  external: ExternalData | undefined,
  kernels: () => Kernels,
): LoadedNode {
  const { label, opType, domain, opset } = call;
  const operator = domain === "" ? operatorNamed(opType) : undefined;
  if (!operator) {
    throw new UnsupportedError(
      `Cannot load ${label}: the session runs ${
        SESSION_OPERATORS.join(", ")
      } of ONNX' own domain; use onnxruntime for other models`,
    );
  }
  if (opset > NEWEST_OPSET) {
    throw new UnsupportedError(
      `Cannot load ${label}: expected an opset up to ${NEWEST_OPSET}, got ${opset}`,
    );
  }
  if (!(opset >= operator.since)) {
    throw new FormatError(
      `Cannot load ${label}: the operator came with opset ${operator.since}, the model has ${opset}`,
    );
  }
  const { inputs, outputs = [1, 1] } = operator;
  const present = call.inputs.map((id) => id >= 0);
  const isWithin = (count: number, [fewest, most]: readonly [number, number]) =>
    count >= fewest && count <= most;
  if (
    !isWithin(present.length, inputs) ||
    present.slice(0, inputs[0]).includes(false)
  ) {
    throw new FormatError(
      `Cannot load ${label}: expected ${range(inputs)} inputs, got ${
        present.filter(Boolean).length
      }`,
    );
  }
  if (!isWithin(call.outputs.length, outputs)) {
    throw new FormatError(
      `Cannot load ${label}: expected ${
        range(outputs)
      } outputs, got ${call.outputs.length}`,
    );
  }
  const operatorNode: OperatorNode = {
    label,
    opType,
    opset,
    attributes: new Attributes(call.attributes, label, external),
    inputs: present,
    outputs: call.outputs.map((id) => id >= 0),
    kernels,
  };
  const specialize = operator.load(operatorNode);
  const { inputs: ins, outputs: outs } = call;
  return { call, operatorNode, label, inputs: ins, outputs: outs, specialize };
}
