import * as fc from "fast-check";
import { createData } from "../tensor.ts";
import { layoutOf } from "./layout.ts";
import { assertSameBits } from "./testing/bits.ts";
import {
  ELEMENT_TYPES,
  makeDoubles,
  makeInput,
  makeUsualInput,
} from "./testing/cases.ts";
import { createTrainingKernels } from "./training.ts";
import { bindTypedArrayPieces, runByPiece } from "./typed_array_pieces.ts";

Deno.test("arrays that are cut at their pieces give the same bits", () => {
  const whole = createTrainingKernels(bindTypedArrayPieces);
  const cut = createTrainingKernels((operation, type, arrays) =>
    runByPiece(bindTypedArrayPieces, operation, type, arrays)
  );
  const shapes = fc.constantFrom(
    { dims: [2, 3, 9000], axis: 1 },
    { dims: [3, 2100, 17], axis: 1 },
    { dims: [2, 5, 7, 7], axis: 1 },
    { dims: [519, 3], axis: 1 },
    { dims: [37, 2100], axis: 1 },
    { dims: [70, 5, 3], axis: 1 },
  );
  fc.assert(
    fc.property(
      shapes,
      fc.constantFrom(...ELEMENT_TYPES),
      fc.nat(),
      ({ dims, axis }, type, seed) => {
        const layout = layoutOf(dims, [axis]);
        const { channels } = layout;
        const length = channels * layout.reduced;
        const x = makeUsualInput(type, length, seed);
        const dy = makeUsualInput(type, length, seed + 1);
        const special = makeInput(type, length, seed + 2);
        const [a, b, c, d] = [3, 4, 5, 6].map((salt) =>
          makeDoubles(channels, seed + salt)
        ) as [Float64Array, Float64Array, Float64Array, Float64Array];
        const [given, expected] = [cut, whole].map((kernels) => {
          const vector = (): Float64Array => new Float64Array(channels);
          const vectors = [vector(), vector(), vector(), vector()] as const;
          const [mean, m2, sum, product] = vectors;
          const y = createData(type, length);
          const dx = special.slice();
          kernels.moments(type, layout, x, mean, m2);
          kernels.gradientSums(type, layout, x, dy, mean, sum, product);
          kernels.normalize(type, layout, special, y, a, b, c);
          kernels.inputGradient(type, layout, dx, dy, dx, a, b, c, d);
          return [...vectors, y, dx];
        });
        for (const [i, values] of given!.entries()) {
          assertSameBits(values, expected![i]!, `[${dims}] ${type}, ${i}`);
        }
      },
    ),
    { numRuns: 60 },
  );
});
