/**
 * Measuring several things side by side on a machine that has other work to
 * do: every round runs all of them once, one after the other, so that what
 * slows one slows its neighbours too, and ratios are taken within a round.
 *
 * @module
 */

/** What is measured. */
export interface Candidate {
  /** What the tables call it. */
  readonly name: string;
  /** One call. */
  run(): void | Promise<void>;
}

/** What a candidate took. */
export interface Timing {
  /** What the tables call it. */
  readonly name: string;
  /** Milliseconds per call, one value per round. */
  readonly rounds: readonly number[];
}

/** How long and how often. */
export interface RoundOptions {
  /** The number of rounds. */
  readonly rounds: number;
  /** Calls are repeated until one round of a candidate takes so long, in ms. */
  readonly least: number;
}

/**
 * What is called before anything is measured, so many times and so long (in
 * ms): what is quick needs thousands of calls to reach the last compiler tier.
 */
const WARM_UP_CALLS = 12;
const WARM_UP_TIME = 60;

async function timed(candidate: Candidate, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const pending = candidate.run();
    // Awaiting what is not a promise would cost a turn of the event loop.
    if (pending) await pending;
  }
  return (performance.now() - start) / calls;
}

/** Measures candidates in interleaved rounds, each time in another order. */
export async function measureRounds(
  candidates: readonly Candidate[],
  { rounds, least }: RoundOptions,
): Promise<Timing[]> {
  const calls: number[] = [];
  for (const candidate of candidates) {
    const start = performance.now();
    let once = Infinity;
    do {
      once = Math.min(once, await timed(candidate, WARM_UP_CALLS));
    } while (performance.now() - start < WARM_UP_TIME);
    // A clock step must not count: at least `least` per round.
    calls.push(Math.max(1, Math.ceil(least / Math.max(once, 1e-5))));
  }
  const times: number[][] = candidates.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < candidates.length; i++) {
      const index = (i + round) % candidates.length;
      times[index]!.push(await timed(candidates[index]!, calls[index]!));
    }
  }
  return candidates.map(({ name }, i) => ({ name, rounds: times[i]! }));
}

/** The median; of an even number of values, the lower middle one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[(values.length - 1) >> 1]!;
}

/** The median over rounds of how many times as long one took as another. */
export function ratio(of: Timing, to: Timing): number {
  return median(of.rounds.map((time, i) => time / to.rounds[i]!));
}
