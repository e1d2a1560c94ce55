/**
 * The seeded random numbers behind the random initializers.
 *
 * The source is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC11, 2011), the generator that TensorFlow
 * uses too. It is a keyed function of a counter, in 32-bit integer arithmetic.
 *
 * Everything here has the same bits on every engine: integers, and the four
 * IEEE operations with square root. JavaScript leaves the bits of `Math.log`,
 * `Math.sin` and `Math.cos` to the engine, so none of them is called.
 *
 * The numbers are not TensorFlow's: Keras promises a distribution, not values.
 *
 * @module
 */

import { OptionError } from "../errors.ts";

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** The upper 32 bits of a product; every step stays below 2^53, so is exact. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + Math.floor(middle / 0x10000) +
    Math.floor(carry / 0x10000);
}

/** Four 32-bit words. */
type Words = [number, number, number, number];

/** Philox4x32-10: scrambles a counter of four words in place. */
function philox(counter: Words, key0: number, key1: number): void {
  let [a, b, c, d] = counter;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, a);
    const low0 = Math.imul(MULTIPLIER_0, a) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c);
    const low1 = Math.imul(MULTIPLIER_1, c) >>> 0;
    a = (high1 ^ b ^ key0) >>> 0;
    b = low1;
    c = (high0 ^ d ^ key1) >>> 0;
    d = low0;
    key0 = (key0 + WEYL_0) >>> 0;
    key1 = (key1 + WEYL_1) >>> 0;
  }
  counter[0] = a;
  counter[1] = b;
  counter[2] = c;
  counter[3] = d;
}

/**
 * The natural logarithm in IEEE operations only: x = m * 2^e with m around 1,
 * and log(m) = 2 atanh(s) for s = (m - 1) / (m + 1).
 *
 * s^2 is at most 0.0295, so that the first term left out, s^24 / 25, is below
 * 2^-65 of the sum.
 */
function naturalLog(x: number): number {
  let m = x;
  let e = 0;
  for (; m < Math.SQRT1_2; e--) m *= 2;
  const s = (m - 1) / (m + 1);
  const square = s * s;
  let series = 0;
  for (let odd = 23; odd >= 1; odd -= 2) series = series * square + 1 / odd;
  return e * Math.LN2 + 2 * s * series;
}

function polynomial(coefficients: readonly number[], x: number): number {
  let value = 0;
  for (let i = coefficients.length - 1; i >= 0; i--) {
    value = value * x + coefficients[i]!;
  }
  return value;
}

// Coefficients of PPND16, lowest power first: numerator, denominator.
const CENTRE: readonly [number[], number[]] = [
  [
    3.3871328727963666080,
    133.14166789178437745,
    1971.5909503065514427,
    13731.693765509461125,
    45921.953931549871457,
    67265.770927008700853,
    33430.575583588128105,
    2509.0809287301226727,
  ],
  [
    1,
    42.313330701600911252,
    687.18700749205790830,
    5394.1960214247511077,
    21213.794301586595867,
    39307.895800092710610,
    28729.085735721942674,
    5226.4952788528545610,
  ],
];
const TAIL: readonly [number[], number[]] = [
  [
    1.42343711074968357734,
    4.63033784615654529590,
    5.76949722146069140550,
    3.64784832476320460504,
    1.27045825245236838258,
    0.241780725177450611770,
    0.0227238449892691845833,
    7.74545014278341407640e-4,
  ],
  [
    1,
    2.05319162663775882187,
    1.67638483018380384940,
    0.689767334985100004550,
    0.148103976427480074590,
    0.0151986665636164571966,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
  ],
];
const FAR_TAIL: readonly [number[], number[]] = [
  [
    6.65790464350110377720,
    5.46378491116411436990,
    1.78482653991729133580,
    0.296560571828504891230,
    0.0265321895265761230930,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
  ],
  [
    1,
    0.599832206555887937690,
    0.136929880922735805310,
    0.0148753612908506148525,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
  ],
];

/**
 * The standard normal value below which a share `p` of all values lies.
 *
 * Algorithm AS 241, PPND16 (Wichura, "The percentage points of the normal
 * distribution", Applied Statistics 37, 1988); relative error about 1e-16.
 *
 * @param p A probability, above 0 and below 1.
 * @returns The quantile.
 */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return q * polynomial(CENTRE[0], r) / polynomial(CENTRE[1], r);
  }
  const depth = Math.sqrt(-naturalLog(q < 0 ? p : 1 - p));
  const [numerator, denominator, r] = depth <= 5
    ? [...TAIL, depth - 1.6] as const
    : [...FAR_TAIL, depth - 5] as const;
  const value = polynomial(numerator, r) / polynomial(denominator, r);
  return q < 0 ? -value : value;
}

/**
 * A seeded source of random numbers: Philox4x32-10 with the seed as its key.
 *
 * The same seed and stream give the same numbers on every engine.
 */
export class RandomGenerator {
  readonly #key0: number;
  readonly #key1: number;
  readonly #stream: number;
  readonly #words: Words = [0, 0, 0, 0];
  #block = 0;
  #used = 4;

  /**
   * Makes a generator.
   *
   * @param seed Any integer; its lowest 64 bits count.
   * @param stream Which of the independent sequences of this seed, from 0 to
   * 2^53 - 1.
   *
   * @throws {OptionError} If the seed is not an integer.
   */
  constructor(seed: number | bigint, stream: number = 0) {
    if (typeof seed === "number" && !Number.isInteger(seed)) {
      throw new OptionError(
        `Cannot seed a random generator: expected an integer, got ${seed}`,
      );
    }
    const key = BigInt.asUintN(64, BigInt(seed));
    this.#key0 = Number(key & 0xffffffffn);
    this.#key1 = Number(key >> 32n);
    this.#stream = stream;
  }

  /** The next 32 random bits, as an integer from 0 to 2^32 - 1. */
  word(): number {
    if (this.#used === 4) {
      const words = this.#words;
      words[0] = this.#block >>> 0;
      words[1] = Math.floor(this.#block / 2 ** 32);
      words[2] = this.#stream >>> 0;
      words[3] = Math.floor(this.#stream / 2 ** 32);
      philox(words, this.#key0, this.#key1);
      this.#block++;
      this.#used = 0;
    }
    return this.#words[this.#used++]!;
  }

  /** The next number from 0 up to but not 1: one of the 2^53 multiples of 2^-53. */
  uniform(): number {
    const high = this.word() >>> 5;
    const low = this.word() >>> 6;
    return (high * 2 ** 26 + low) * 2 ** -53;
  }

  /** The next number of the standard normal distribution, by its quantiles. */
  normal(): number {
    const high = this.word() >>> 6;
    const low = this.word() >>> 6;
    // An odd multiple of 2^-53: exact, symmetric about 1/2, never 0 or 1.
    return normalQuantile((high * 2 ** 26 + low + 0.5) * 2 ** -52);
  }

  /** The next standard normal number, drawn again while outside [-2, 2]. */
  truncatedNormal(): number {
    for (;;) {
      const value = this.normal();
      if (Math.abs(value) <= 2) return value;
    }
  }
}

/** A seed that nobody knows in advance: 53 bits of the platform's entropy. */
export function randomSeed(): number {
  const words = crypto.getRandomValues(new Uint32Array(2));
  return words[0]! * 2 ** 21 + (words[1]! >>> 11);
}
