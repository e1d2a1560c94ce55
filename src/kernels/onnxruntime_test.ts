import { assert, assertEquals } from "@std/assert";
import {
  createData,
  encodeInto,
  type TensorData,
  toFloats,
} from "../tensor.ts";
import { maxUlp } from "../ulp.ts";
import { foldStatistics } from "./coefficients.ts";
import { KERNELS } from "./dispatch.ts";
import { layoutOf } from "./layout.ts";
import { assertSameBits } from "./testing/bits.ts";
import {
  type OnnxFloat,
  type OnnxParameters,
  runOnnxruntime,
} from "./testing/onnxruntime.ts";
import { randomFloat32, randomUint32 } from "./testing/random.ts";
import type { Parameters } from "./types.ts";

/** Any bit pattern of a type, or usual numbers with some special ones. */
function numbers(
  style: "usual" | "special" | "any",
  seed: number,
): () => number {
  const next = randomUint32(seed);
  const anyFloat = randomFloat32(seed);
  const special = [
    ...[NaN, Infinity, -Infinity, 0, -0, 1e-45, -1e-40, 1.1754942e-38],
    ...[3.4028234e38, -3.4028234e38, 65504, 6e-8, 1e-5, 1, -1],
  ];
  return () => {
    if (style === "any") return anyFloat();
    if (style === "special" && next() % 3 === 0) {
      return special[next() % special.length]!;
    }
    return next() / 2 ** 30 - 2;
  };
}

function encode(type: OnnxFloat, values: ArrayLike<number>): TensorData {
  const data = createData(type, values.length);
  encodeInto(type, data, values);
  return data;
}

/** Runs both, and returns how far our kernels are from onnxruntime, in ULP. */
async function compare(
  type: OnnxFloat,
  dims: readonly number[],
  style: "usual" | "special" | "any",
  seed: number,
): Promise<number> {
  const count = dims.reduce((product, extent) => product * extent, 1);
  const channels = dims[1]!;
  const make = (length: number, salt: number): TensorData =>
    encode(
      type,
      Float64Array.from({ length }, numbers(style, 10 * seed + salt)),
    );
  const variance = make(channels, 5);
  if (style === "usual") {
    encodeInto(
      type,
      variance,
      widen(type, variance).map((value) => Math.abs(value)),
    );
  }
  const x = make(count, 1);
  const parameters: OnnxParameters = {
    scale: make(channels, 2),
    bias: make(channels, 3),
    mean: make(channels, 4),
    variance,
    epsilon: 0.001,
  };
  const expected = await runOnnxruntime(type, dims, x, parameters);
  const a = widen(type, parameters.scale).fill(0);
  const b = a.slice();
  foldStatistics(a, b, {
    gamma: widen(type, parameters.scale),
    beta: widen(type, parameters.bias),
    mean: widen(type, parameters.mean),
    variance: widen(type, parameters.variance),
    // The attribute is a float32, for float64 tensors too.
    epsilon: Math.fround(parameters.epsilon),
  });
  let largest = 0;
  for (const { name, start } of KERNELS) {
    const y = createData(type, count);
    start().affine(type, layoutOf(dims, [1]), x, y, a, b);
    if (type === "float32") {
      assertSameBits(y, expected, `${name}, [${dims}], ${style}`);
    }
    const distance = maxUlp(
      { type, dims, data: y },
      { type, dims, data: expected },
    );
    largest = Math.max(largest, distance);
  }
  return largest;
}

/** A tensor's numbers in what its type computes in. */
function widen(type: OnnxFloat, data: TensorData): Parameters {
  return type === "float64" ? Float64Array.from(data) : toFloats(
    { type, dims: [data.length], data },
    new Float32Array(data.length),
  );
}

/** Shapes of rank 2 to 5, some of which cross several chunks. */
function shapes(): number[][] {
  const next = randomUint32(42);
  const random = Array.from({ length: 40 }, (_, i) => {
    const rank = 2 + i % 4;
    return Array.from(
      { length: rank },
      (_, d) => 1 + next() % (d < 2 ? 20 : 7),
    );
  });
  return [...random, [3, 33, 29, 31], [2, 3, 150, 101], [700, 100], [1, 9001]];
}

for (const style of ["usual", "special", "any"] as const) {
  Deno.test(`float32 is onnxruntime-web's bit for bit: ${style} values`, async () => {
    for (const [i, dims] of shapes().entries()) {
      assertEquals(await compare("float32", dims, style, i), 0);
    }
  });

  for (const type of ["float64", "float16"] as const) {
    Deno.test(`${type} is within 1 ULP of onnxruntime-web: ${style} values`, async () => {
      let largest = 0;
      for (const [i, dims] of shapes().entries()) {
        largest = Math.max(largest, await compare(type, dims, style, i));
      }
      // Promised is 1; measured with onnxruntime-web 1.30.0 is 0.
      assert(largest <= 1, `${largest} ULP`);
    });
  }
}
