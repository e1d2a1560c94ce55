/**
 * Reproducible numbers for tests.
 *
 * @module
 */

/** Uniform 32-bit integers from a seed (mulberry32). */
export function randomUint32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return (word ^ (word >>> 14)) >>> 0;
  };
}

/** Any float32 from a seed: all bit patterns are equally likely. */
export function randomFloat32(seed: number): () => number {
  const next = randomUint32(seed);
  const words = new Uint32Array(1);
  const floats = new Float32Array(words.buffer);
  return () => {
    words[0] = next();
    return floats[0]!;
  };
}
