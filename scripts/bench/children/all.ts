// One inference with the whole module.
import { BatchNormalization, tensor } from "../../../mod.ts";

const layer = new BatchNormalization({ axis: 1 });
const y = layer.call(tensor(new Float32Array(12_544).fill(2), [1, 64, 14, 14]));
if (y.data.length !== 12_544) Deno.exit(1);
