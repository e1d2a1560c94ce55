/**
 * Dropout, which would make inference random.
 *
 * @module
 */

import { writeNumber } from "./attributes.ts";
import { tryConstant } from "./constants.ts";
import type { Edits } from "./edit.ts";
import type { Notice } from "./mode_changes.ts";
import type { OpenModel } from "./open.ts";
import { nodeName } from "./scopes.ts";
import { DROPOUT_INPUT_OPSET, IS_TEST_REMOVAL_OPSET } from "./versions.ts";

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
      if (scope.opset < IS_TEST_REMOVAL_OPSET) {
        if (node.attributes.get("is_test")?.i === 1n) continue;
        writeNumber(edits, node, { name: "is_test", i: 1 });
      } else {
        const mode = node.inputs[2] ?? "";
        if (scope.opset < DROPOUT_INPUT_OPSET || mode === "") continue;
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
