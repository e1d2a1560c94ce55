/**
 * Batch renormalization as TensorFlow up to 1.14 stored it.
 *
 * Its averages start at zero and are not divided by their weight, which is
 * kept beside them; there is no `moving_stddev`. What later releases would
 * hold follows from that (`_update_renorm_variable` in TensorFlow 1.13's
 * `normalization.py`). Inference does not depend on it.
 *
 * @module
 */

import type { KerasConfig } from "../../layer/config.ts";
import type { WeightName } from "../../layer/weights.ts";
import { castTensor, type Tensor, toFloats, widen } from "../../tensor.ts";
import type { FileVariable } from "../contents/contents.ts";
import type { Found } from "../contents/found.ts";

/** A variable that is computed from others when it is read. */
function derived(
  source: FileVariable,
  compute: (values: Float64Array) => Promise<Float64Array>,
): FileVariable {
  const { name, location, type, dims } = source;
  return {
    name,
    location,
    type,
    dims,
    async read(): Promise<Tensor> {
      const tensor = await source.read();
      const values = widen(tensor);
      const data = await compute(values);
      return castTensor({ type: "float64", dims, data }, tensor.type);
    },
  };
}

async function readScalar(variable: FileVariable): Promise<number> {
  const tensor = await variable.read();
  return widen(tensor)[0] ?? 0;
}

/** An average divided by its weight; `fallback` where nothing was averaged yet. */
function unbiased(
  average: FileVariable,
  weight: FileVariable,
  fallback: FileVariable | undefined,
): FileVariable {
  return derived(average, async (values) => {
    const sum = await readScalar(weight);
    if (sum > 0) return values.map((value) => value / sum);
    if (!fallback) return values;
    const tensor = await fallback.read();
    return toFloats(tensor, values);
  });
}

/**
 * The same layer with the variables of batch renormalization that Keras has
 * since TensorFlow 1.15; others are returned as they are.
 *
 * @param found What the file holds about the layer.
 * @param config Its configuration.
 */
export function withModernRenorm(found: Found, config: KerasConfig): Found {
  const { roles, variables } = found;
  const weightOf = (role: WeightName) =>
    variables.find(({ name }) => name.includes(`${role}_weight`));
  const variance = roles?.get("moving_variance");
  const mean = roles?.get("renorm_mean");
  const stddev = roles?.get("renorm_stddev");
  const meanWeight = weightOf("renorm_mean");
  const stddevWeight = weightOf("renorm_stddev");
  if (
    !config.renorm || !roles || roles.has("moving_stddev") || !variance ||
    !mean || !stddev || !meanWeight || !stddevWeight
  ) return found;
  const epsilon = typeof config.epsilon === "number" ? config.epsilon : 1e-3;
  const movingStddev = derived(
    variance,
    (values) =>
      Promise.resolve(values.map((value) => Math.sqrt(value + epsilon))),
  );
  return {
    ...found,
    roles: new Map([
      ...roles,
      ["moving_stddev", movingStddev],
      ["renorm_mean", unbiased(mean, meanWeight, undefined)],
      ["renorm_stddev", unbiased(stddev, stddevWeight, movingStddev)],
    ]),
  };
}
