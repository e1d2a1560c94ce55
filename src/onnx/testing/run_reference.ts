/**
 * Runs one model in onnxruntime-web and prints what came, for tests of the
 * permissions that it needs.
 *
 * @module
 */

import { BatchNormalization } from "../../layer/batch_normalization.ts";
import { tensor } from "../../tensor.ts";
import { buildOnnx } from "../build.ts";
import { runReference } from "../reference.ts";

const model = buildOnnx(new BatchNormalization({ epsilon: 0 }), {
  inputShape: [null, 2],
});
try {
  const { y } = await runReference(model, { x: tensor([1, 2], [1, 2]) });
  console.log([...y!.data].join());
} catch (error) {
  const { code, message, cause } = error as Error & { code?: string };
  console.log(JSON.stringify({ code, message, cause: String(cause) }));
}
