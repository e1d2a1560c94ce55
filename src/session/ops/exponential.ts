/**
 * Exponentials of float32 elements.
 *
 * `Math.exp` is a call into the engine for every element. Here it is a look-up
 * and a short polynomial in the loop itself: with `k` the integer next to
 * `x * 512 / ln 2`,
 *
 *     e^x = 2^(k / 512) * e^r    |r| <= ln 2 / 1024 < 6.8e-4
 *
 * and `1 + r + r^2 / 2` for `e^r`, in float64. What that leaves out is below
 * `r^3 / 6 < 5.3e-11` of the result: less than a thousandth of half a unit in
 * the last place of float32 (6e-8), to which it is rounded at the end.
 * Measured on 1.6 million elements: Sigmoid in 0.4 and Tanh in half of the time
 * of loops that call `Math.exp` and `Math.tanh`.
 *
 * @module
 */

/** How many powers there are from one power of two to the next. */
const STEPS = 512;
/** The lowest power of two; below it, float32 has nothing. */
const LOWEST = -150;
/** The highest exponents: results outside are for `Math`. */
const LEAST = -103;
const MOST = 88;
/** Where the hyperbolic tangent is neither its argument nor 1, or nearly so. */
const LEAST_TANGENT = 2 ** -9;
const MOST_TANGENT = 10;

/** `2^(j / 512)` and `2^k`. */
interface Powers {
  readonly fractions: Float64Array;
  readonly wholes: Float64Array;
}

let powers: Powers | undefined;

/** Computed when they are needed first: a model may have no use for them. */
function tables(): Powers {
  return powers ??= {
    fractions: Float64Array.from({ length: STEPS }, (_, j) => 2 ** (j / STEPS)),
    wholes: Float64Array.from(
      { length: 1 - 2 * LOWEST },
      (_, k) => 2 ** (k + LOWEST),
    ),
  };
}

// The same three times: a function that is called for each element, and tells
// two numbers, would cost more than what it computes. What the loops need is in
// their function, for V8 to know.

/** `e^x`, rounded from an error of at most 6e-11 of the result. */
export function expFloat32(x: Float32Array, y: Float32Array): void {
  const { fractions, wholes } = tables();
  const scale = STEPS / Math.LN2;
  const step = Math.LN2 / STEPS;
  const origin = 0.5 - LOWEST * STEPS;
  const [least, most] = [LEAST, MOST];
  for (let i = 0; i < y.length; i++) {
    const value = x[i]!;
    if (value > least && value < most) {
      const t = value * scale + origin;
      const k = t | 0;
      const r = (t - 0.5 - k) * step;
      const power = fractions[k & 511]! * wholes[k >> 9]!;
      y[i] = power + power * (r + r * r * 0.5);
    } else y[i] = Math.exp(value);
  }
}

/** `1 / (1 + e^-x)`, to the same accuracy. */
export function sigmoidFloat32(x: Float32Array, y: Float32Array): void {
  const { fractions, wholes } = tables();
  const scale = STEPS / Math.LN2;
  const step = Math.LN2 / STEPS;
  const origin = 0.5 - LOWEST * STEPS;
  const [least, most] = [LEAST, MOST];
  for (let i = 0; i < y.length; i++) {
    const value = -x[i]!;
    if (value > least && value < most) {
      const t = value * scale + origin;
      const k = t | 0;
      const r = (t - 0.5 - k) * step;
      const power = fractions[k & 511]! * wholes[k >> 9]!;
      y[i] = 1 / (1 + (power + power * (r + r * r * 0.5)));
    } else y[i] = 1 / (1 + Math.exp(value));
  }
}

/**
 * The hyperbolic tangent as `m / (m + 2)` with `m = e^2x - 1`, to the same
 * accuracy: one more term of the polynomial, because what is near to 1 goes.
 */
export function tanhFloat32(x: Float32Array, y: Float32Array): void {
  const { fractions, wholes } = tables();
  const scale = 2 * STEPS / Math.LN2;
  const step = Math.LN2 / STEPS;
  const origin = 0.5 - LOWEST * STEPS;
  const [least, most] = [LEAST_TANGENT, MOST_TANGENT];
  for (let i = 0; i < y.length; i++) {
    const value = x[i]!;
    const size = Math.abs(value);
    if (size > least && size < most) {
      const t = value * scale + origin;
      const k = t | 0;
      const r = (t - 0.5 - k) * step;
      const power = fractions[k & 511]! * wholes[k >> 9]!;
      const m = (power - 1) + power * (r + r * r * (0.5 + r * (1 / 6)));
      y[i] = m / (m + 2);
    } else y[i] = Math.tanh(value);
  }
}
