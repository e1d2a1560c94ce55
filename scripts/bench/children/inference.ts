// One inference with the entry that has nothing else.
import { FrozenBatchNormalization, tensor } from "../../../inference.ts";

const vector = tensor(new Float32Array(64).fill(1), [64]);
const layer = new FrozenBatchNormalization(
  { movingMean: vector, movingVariance: vector },
  { axis: 1 },
);
const y = layer.call(tensor(new Float32Array(12_544).fill(2), [1, 64, 14, 14]));
if (y.data.length !== 12_544) Deno.exit(1);
