/**
 * Dropout, which would make inference random.
 *
 * @module
 */

import { writeNumber } from "./attributes.ts";
import { tryConstant } from "./constants.ts";
import type { Edits } from "./edit.ts";
import { IS_TEST_OPSET, type Notice } from "./mode_opsets.ts";
import type { OpenModel } from "./open.ts";
import { nodeName } from "./scopes.ts";

/** Since when an input tells the mode; between, there is inference only. */
const INPUT_OPSET = 12;

/** Turns off every Dropout that runs in training mode. */
export function stopDropout(
  edits: Edits,
  open: OpenModel,
  notice: Notice,
): void {
  for (const scope of open.scopes.all) {
    for (const node of scope.body.nodes) {
      if (node.domain !== "" || node.opType !== "Dropout") continue;
      const name = scope.path + nodeName(node);
      if (scope.opset < IS_TEST_OPSET) {
        if (node.attributes.get("is_test")?.i === 1n) continue;
        writeNumber(edits, node, { name: "is_test", i: 1 });
      } else {
        const mode = node.inputs[2] ?? "";
        if (scope.opset < INPUT_OPSET || mode === "") continue;
        const read = tryConstant(scope, mode, open.external);
        if (!read.constant) {
          notice(
            `Dropout "${name}" keeps its training_mode, which is no constant: ${read.reason}`,
          );
          continue;
        }
        if (!read.tensor.data[0]) continue;
        const field = node.inputFields[2]!;
        edits.replace(node.place, field.start, field.to);
      }
      notice(`Dropout "${name}" no longer drops anything`);
    }
  }
}
