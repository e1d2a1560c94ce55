import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertThrows,
} from "@std/assert";
import { OptionError, ShapeError } from "../errors.ts";
import { BatchNormalization } from "../layer/batch_normalization.ts";
import { type Tensor, tensor, toFloats } from "../tensor.ts";
import { Adam, resolveOptimizer, SGD } from "./optimizers.ts";
import { decode, type Encoded, FIT_CASES } from "./testing/training_cases.ts";
import { trainStep } from "./train_step.ts";

const WEIGHTS = ["gamma", "beta", "moving_mean", "moving_variance"] as const;

/**
 * Values are at most 4 here. Keras' results come from float32 sums of at most
 * 8 terms and some ten further operations, each rounded by 2^-24 of its size;
 * ours from float64, rounded once. A step of Adam, which is as long for small
 * gradients as for large ones, has none that are nearly 0 here.
 */
const TOLERANCE = (8 + 10) * 2 ** -24 * 4;

function assertNear(actual: Tensor, expected: Encoded, what: string): void {
  const { type, dims, data } = decode(expected);
  assertEquals([actual.type, actual.dims], [type, dims], what);
  data.forEach((value, i) => {
    const message = `${what}[${i}]`;
    assertAlmostEquals(actual.data[i]!, value, TOLERANCE, message);
  });
}

/** The mean of (y - target)^2, and its gradient. */
function meanSquares(target: Tensor) {
  const { length } = target.data;
  return {
    loss: (y: Tensor) =>
      Float64Array.from(y.data, (v, i) => (v - target.data[i]!) ** 2)
        .reduce((sum, square) => sum + square, 0) / length,
    gradient: (y: Tensor) =>
      tensor(
        Float64Array.from(y.data, (v, i) => 2 * (v - target.data[i]!) / length),
        y.dims,
      ),
  };
}

for (const [line, kerasVersion, entry] of FIT_CASES) {
  Deno.test(`trainStep: ${line} ${entry.name}`, () => {
    const layer = BatchNormalization.fromConfig(entry.options, {
      kerasVersion,
    });
    layer.build(entry.inputShape);
    assertEquals(layer.fused, entry.fused ?? false);
    layer.setWeights(
      WEIGHTS.map((name) => decode(entry.initialWeights[name]!)),
    );
    const { class: class_name, arguments: config } = entry.optimizer;
    const optimizer = resolveOptimizer({ class_name, config }, {
      kerasVersion,
    });
    assertEquals(entry.steps.length, 5);
    entry.steps.forEach((step, i) => {
      const given = meanSquares(decode(step.target));
      const result = trainStep(layer, decode(step.x), { optimizer, ...given });
      const at = `step ${i + 1}, `;
      assertNear(result.y, step.y, `${at}y`);
      assertNear(result.dgamma!, step.dgamma, `${at}dgamma`);
      assertNear(result.dbeta!, step.dbeta, `${at}dbeta`);
      assertAlmostEquals(result.loss!, step.loss, TOLERANCE);
      assertAlmostEquals(result.losses, step.loss - step.error, TOLERANCE);
      WEIGHTS.forEach((name, w) =>
        assertNear(layer.weights[w]!, step.weightsAfter[name]!, at + name)
      );
    });
  });
}

Deno.test("every line has whole steps", () => {
  // keras 2.12 has none of its own: its optimizers are those of tf-keras.
  assertEquals(FIT_CASES.map(([line]) => line), [
    ...Array(4).fill("k24"),
    ...Array(4).fill("tfk"),
    ...Array(4).fill("k3"),
  ]);
});

const x = tensor([1, -2, 3, 5, 0.5, 4], [3, 2]);
const dy = tensor([1, 0, -1, 2, 0.5, 0], [3, 2]);

Deno.test("a frozen layer learns nothing", () => {
  const layer = new BatchNormalization({
    trainable: false,
    gammaRegularizer: "l2",
  });
  layer.build(x.dims);
  const before = layer.getWeights();
  const optimizer = new Adam();
  const result = trainStep(layer, x, { optimizer, gradient: dy });
  assertEquals(layer.getWeights(), before);
  assertEquals(optimizer.iterations, 0);
  assertEquals(Object.keys(result), ["y", "dx", "losses"]);
  assertEquals(result.y, layer.call(x));
  assertEquals(result.dx, layer.backward(dy).dx);
});

Deno.test("a layer without gamma and beta moves its statistics only", () => {
  const layer = new BatchNormalization({ center: false, scale: false });
  const optimizer = new SGD();
  const { dx, ...rest } = trainStep(layer, x, { optimizer, gradient: dy });
  assertEquals(dx.dims, [3, 2]);
  assertEquals(Object.keys(rest), ["y", "losses"]);
  assertEquals(optimizer.iterations, 0);
  assert(layer.movingMean.data[0] !== 0);
});

Deno.test("gradient is a tensor or a function of the output", () => {
  const layers = [0, 1].map(() => new BatchNormalization());
  const optimizer = () => new SGD();
  const first = trainStep(layers[0]!, x, {
    optimizer: optimizer(),
    gradient: dy,
  });
  let seen: Tensor | undefined;
  const gradient = (y: Tensor) => {
    seen = y;
    return dy;
  };
  const second = trainStep(layers[1]!, x, { optimizer: optimizer(), gradient });
  assertEquals(second, first);
  assertEquals(seen, second.y);
});

Deno.test("an activity regularizer adds to the output's gradient", () => {
  const run = (gradient: Tensor, activityRegularizer: string | null) => {
    const layer = new BatchNormalization({
      activityRegularizer,
      dtype: "float64",
    });
    return trainStep(layer, x, { optimizer: new SGD(), gradient });
  };
  const result = run(dy, "l2");
  // Keras: 0.01 * sum(y^2) / batch, whose derivative is 0.02 * y / 3.
  const rate = Math.fround(0.01);
  const values = (t: Tensor) => toFloats(t, new Float64Array(t.data.length));
  const y = values(result.y);
  const added = values(dy).map((g, i) => g + 2 * rate * y[i]! / 3);
  const expected = run(tensor(added, [3, 2]), null);
  const squares = y.reduce((sum, v) => sum + v * v, 0);
  assertAlmostEquals(result.losses, rate * squares / 3, 1e-15);
  for (const name of ["dx", "dgamma", "dbeta"] as const) {
    const actual = values(result[name]!);
    values(expected[name]!).forEach((value, i) =>
      // Gradients of at most 4, in float64.
      assertAlmostEquals(actual[i]!, value, 20 * 2 ** -53 * 4, name)
    );
  }
});

Deno.test("a mask reaches the layer", () => {
  const layer = new BatchNormalization({ kerasVersion: "2.12", momentum: 0 });
  const mask = new Uint8Array([1, 1, 0]);
  trainStep(layer, x, { optimizer: new SGD(), gradient: dy, mask });
  assertEquals([...layer.movingMean.data], [2, 1.5]);
});

Deno.test("a step that fails leaves layer and optimizer as they were", () => {
  const layer = new BatchNormalization({
    betaConstraint: "radial_constraint",
    betaInitializer: "random_normal",
  });
  layer.build(x.dims);
  const before = layer.getWeights();
  const optimizer = new SGD({ momentum: 0.5 });
  const boom = () => {
    throw new RangeError("boom");
  };
  const failures: [() => unknown, new (message: string) => Error, string][] = [
    [
      () => trainStep(layer, x, { optimizer, gradient: dy }),
      ShapeError,
      "rank 4",
    ],
    [
      () => trainStep(layer, x, { optimizer, gradient: boom }),
      RangeError,
      "boom",
    ],
    [
      () => trainStep(layer, x, { optimizer, gradient: dy, loss: boom }),
      RangeError,
      "boom",
    ],
    [
      () => trainStep(layer, x, { optimizer, gradient: x.dims as never }),
      OptionError,
      "gradient",
    ],
    [
      () => trainStep(layer, x, { optimizer, gradient: tensor([1], [1]) }),
      ShapeError,
      "",
    ],
    [
      () => trainStep(layer, null as never, { optimizer, gradient: dy }),
      OptionError,
      "input",
    ],
  ];
  for (const [run, type, message] of failures) {
    assertThrows(run, type, message);
    assertEquals(layer.getWeights(), before);
    assertEquals(optimizer.getState(), { iterations: 0, slots: [] });
  }
});

Deno.test("what is no optimizer is refused before anything happens", () => {
  const layer = new BatchNormalization();
  const x = tensor([1, 3], [2, 1]);
  for (const optimizer of ["adam", undefined, {}]) {
    assertThrows(
      () => trainStep(layer, x, { optimizer, gradient: x } as never),
      OptionError,
      "expected an optimizer such as new Adam()",
    );
  }
  assertEquals(layer.axes, undefined);
});
