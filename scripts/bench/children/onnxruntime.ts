// One inference with onnxruntime-web, on a model that is read from a file.
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(
  Deno.readFileSync(Deno.args[0]!),
);
const x = new ort.Tensor("float32", new Float32Array(12_544).fill(2), [
  1,
  64,
  14,
  14,
]);
const { y } = await session.run({ x });
if (y!.data.length !== 12_544) Deno.exit(1);
