import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UnsupportedError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { tensor } from "../tensor.ts";
import { buildOnnx } from "./build.ts";
import { loadReference, runReference } from "./reference.ts";

const layer = new BatchNormalization({ epsilon: 0 });
const model = buildOnnx(layer, { inputShape: [null, 2] });

Deno.test("loadReference runs a model many times", async () => {
  await using reference = await loadReference(model);
  assertEquals(reference.inputNames, ["x"]);
  assertEquals(reference.outputNames, ["y"]);
  for (const batch of [1, 3]) {
    const x = tensor(Array(2 * batch).fill(2), [batch, 2]);
    const { y } = await reference.run({ x });
    assertEquals(y?.dims, x.dims);
    assertEquals(y?.data, x.data);
  }
});

Deno.test("bytes that are no model are refused, with onnxruntime's words as the cause", async () => {
  const error = await assertRejects(
    () => loadReference(Uint8Array.of(1, 2, 3)),
    UnsupportedError,
    "Cannot load the model in onnxruntime-web 1.30.0",
  );
  assertEquals(error.cause instanceof Error, true);
});

Deno.test("an opset that onnxruntime does not know is refused", async () => {
  const newer = model.slice();
  newer[newer.length - 1] = 27; // the model ends with its opset
  await assertRejects(() => loadReference(newer), UnsupportedError, "27");
});

Deno.test("bfloat16 cannot be fed", async () => {
  await assertRejects(
    () => runReference(model, { x: tensor([1, 2], [1, 2], "bfloat16") }),
    UnsupportedError,
    "Cannot feed x to onnxruntime-web: it has no bfloat16 tensors",
  );
});

async function runWith(...permissions: string[]): Promise<string> {
  const script = new URL("testing/run_reference.ts", import.meta.url).pathname;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--quiet", ...permissions, script],
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("onnxruntime-web needs to read Deno's npm cache, and nothing else", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  const { npmCache } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(await runWith(`--allow-read=${npmCache}`), "1,2");
});

Deno.test("without that, the error says so", async () => {
  const { code, message, cause } = JSON.parse(await runWith());
  assertEquals(code, "EVENKEEL_UNSUPPORTED");
  assertStringIncludes(message, "Cannot start onnxruntime-web");
  assertStringIncludes(message, "--allow-read");
  assertStringIncludes(cause, "no available backend found");
});
