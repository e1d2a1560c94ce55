import { assertAlmostEquals } from "@std/assert";
import { loadKeras } from "../load.ts";
import {
  fixtureUrl,
  recordedCases,
  recordedTensor,
} from "../testing/fixtures.ts";

Deno.test("averages of TensorFlow 1.13 are divided by their weight", async () => {
  const file = "k113_class_aliases.h5";
  const model = await loadKeras(fixtureUrl(file));
  const layer = model.batchNormalizations.get("bn_renorm")!;
  const { weights } = recordedCases().find((each) => each.file === file)!
    .layers.find(({ name }) => name === "bn_renorm")!;
  const values = (name: string) => recordedTensor(weights[name]!).data;
  // The scalar in the file that neither the case nor the layer has.
  const weight = 0.113615125;
  for (let c = 0; c < 5; c++) {
    const variance = values("moving_variance")[c]!;
    for (
      const [actual, expected] of [
        [layer.movingStddev!, Math.sqrt(variance + 1e-3)],
        [layer.renormMean!, values("renorm_mean")[c]! / weight],
        [layer.renormStddev!, values("renorm_stddev")[c]! / weight],
      ] as const
    ) {
      // The weight above has nine digits; the rest is one rounding.
      assertAlmostEquals(
        actual.data[c]!,
        expected,
        2 ** -22 * Math.abs(expected),
      );
    }
  }
});
