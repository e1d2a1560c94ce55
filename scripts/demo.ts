/**
 * Shows what Evenkeel does on a file that real Keras wrote: lists its
 * BatchNormalization layers, runs them on both kernels and in
 * onnxruntime-web, and writes one as an ONNX model.
 *
 *     deno task demo
 *
 * @module
 */

import { main } from "../src/cli/main.ts";

const FILE = "testdata/keras/tfk_many_layers.h5";
const LAYER = "bn_last";
const SHAPE = "?,?,?,4";
const OUTPUT = "demo.onnx";

const STEPS: readonly (readonly string[])[] = [
  ["inspect", FILE],
  ["verify", FILE],
  ["convert", FILE, "--layer", LAYER, "--input-shape", SHAPE, "-o", OUTPUT],
];

for (const args of STEPS) {
  console.log(`$ evenkeel ${args.join(" ")}`);
  const code = await main(args);
  console.log("");
  if (code !== 0) Deno.exit(code);
}
