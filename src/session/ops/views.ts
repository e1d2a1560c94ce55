/**
 * Operators that leave the elements as they are and where they are: Identity,
 * Reshape and its kind.
 *
 * @module
 */

import { AXES_INPUT_OPSET } from "../../onnx/versions.ts";
import { countOf } from "../values.ts";
import {
  axesOf,
  checkAxes,
  failShape,
  type Inputs,
  integersOf,
  type Operator,
  type OperatorNode,
  type OperatorTable,
  type Outcome,
} from "./operator.ts";

/** The first input under other extents. */
function viewOf(inputs: Inputs, dims: readonly number[]): Outcome {
  const { type, value } = inputs.get(0);
  return { outputs: [{ type, dims, value }], view: true };
}

const identity: Operator = {
  since: 1,
  inputs: [1, 1],
  load: () => (inputs) => viewOf(inputs, inputs.get(0).dims),
};

/** The first opset whose Reshape has its shape as an input. */
const RESHAPE_INPUT_OPSET = 5;

function reshaped(
  node: OperatorNode,
  from: readonly number[],
  target: readonly number[],
  allowZero: boolean,
): number[] {
  const text = (): string =>
    `cannot bring [${from.join(", ")}] to [${target.join(", ")}]`;
  let rest: number | undefined;
  let known = 1;
  const dims = target.map((extent, d) => {
    if (extent === -1) {
      if (rest !== undefined) failShape(node, `${text()}: two extents are -1`);
      rest = d;
      return 1;
    }
    if (extent < 0) failShape(node, `${text()}: ${extent} is no extent`);
    const copied = extent === 0 && !allowZero ? from[d] : extent;
    if (copied === undefined) {
      failShape(node, `${text()}: there is no extent ${d} to copy`);
    }
    known *= copied!;
    return copied!;
  });
  const count = countOf(from);
  if (rest !== undefined) {
    if (known === 0) {
      failShape(node, `${text()}: -1 stands for any number beside a 0`);
    }
    dims[rest] = count / known;
  }
  if (!dims.every(Number.isSafeInteger) || countOf(dims) !== count) {
    failShape(node, `${text()}: it has ${count} elements`);
  }
  return dims;
}

const reshape: Operator = {
  since: 1,
  inputs: [1, 2],
  load(node) {
    if (node.opset < RESHAPE_INPUT_OPSET) {
      const target = node.attributes.ints("shape") ?? [];
      return (inputs) =>
        viewOf(inputs, reshaped(node, inputs.get(0).dims, target, false));
    }
    const allowZero = node.attributes.flag("allowzero", false);
    return (inputs) => {
      const target = integersOf(node, inputs, 1);
      return viewOf(
        inputs,
        reshaped(node, inputs.get(0).dims, target, allowZero),
      );
    };
  },
};

const flatten: Operator = {
  since: 1,
  inputs: [1, 1],
  load(node) {
    const axis = node.attributes.int("axis", 1);
    return (inputs) => {
      const { dims } = inputs.get(0);
      // Unlike other axes, this one may be the rank: it stands between two.
      if (axis < -dims.length || axis > dims.length) {
        failShape(
          node,
          `expected an axis up to rank ${dims.length}, got ${axis}`,
        );
      }
      const at = axis < 0 ? axis + dims.length : axis;
      return viewOf(inputs, [
        countOf(dims.slice(0, at)),
        countOf(dims.slice(at)),
      ]);
    };
  },
};

const squeeze: Operator = {
  since: 1,
  inputs: [1, 2],
  load(node) {
    const axesIn = axesOf(node, AXES_INPUT_OPSET);
    return (inputs) => {
      const { dims } = inputs.get(0);
      const given = axesIn(inputs);
      const axes = given && checkAxes(node, given, dims.length);
      for (const axis of axes ?? []) {
        if (dims[axis] !== 1) {
          failShape(
            node,
            `expected extent 1 at axis ${axis}, got [${dims.join(", ")}]`,
          );
        }
      }
      return viewOf(
        inputs,
        dims.filter((extent, d) => axes ? !axes.includes(d) : extent !== 1),
      );
    };
  },
};

const unsqueeze: Operator = {
  since: 1,
  inputs: [1, 2],
  load(node) {
    const axesIn = axesOf(node, AXES_INPUT_OPSET);
    return (inputs) => {
      const { dims } = inputs.get(0);
      const given = axesIn(inputs);
      if (!given) failShape(node, "it has no axes");
      const rank = dims.length + given.length;
      const axes = checkAxes(node, given, rank);
      let next = 0;
      return viewOf(
        inputs,
        Array.from(
          { length: rank },
          (_, d) => axes.includes(d) ? 1 : dims[next++]!,
        ),
      );
    };
  },
};

/** The operators. */
export const VIEWS: OperatorTable = {
  Flatten: flatten,
  Identity: identity,
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
};
