/**
 * Names that are close to a name that was not found, for error messages.
 *
 * @module
 */

/** How many names a message lists. */
const LIMIT = 3;

/**
 * The least number of insertions, deletions and replacements that turn `a`
 * into `b` (Levenshtein).
 */
export function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    const row = [i + 1];
    for (let j = 0; j < b.length; j++) {
      row.push(Math.min(
        previous[j + 1]! + 1,
        row[j]! + 1,
        previous[j]! + (a[i] === b[j] ? 0 : 1),
      ));
    }
    previous = row;
  }
  return previous[b.length]!;
}

/** The number of characters that two names share at their ends. */
function sharedSuffix(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let shared = 0;
  while (
    shared < most && a[a.length - 1 - shared] === b[b.length - 1 - shared]
  ) shared++;
  return shared;
}

/**
 * The candidates that are most like a name: few edits apart, or with the
 * same end, as names differ that got a model's name in front.
 *
 * @returns At most three, the nearest first; none that has nothing in common.
 */
export function nearMatches(
  wanted: string,
  candidates: Iterable<string>,
): string[] {
  const scored: { name: string; score: number }[] = [];
  for (const name of new Set(candidates)) {
    const longest = Math.max(name.length, wanted.length);
    // The distance is at least the difference of the lengths: most names of a
    // large file need no more than that.
    const least = Math.abs(name.length - wanted.length);
    const suffix = sharedSuffix(name, wanted) / wanted.length;
    const closeness = least / longest > 0.5
      ? 0
      : 1 - editDistance(name, wanted) / longest;
    const score = Math.max(closeness, suffix);
    if (score >= 0.5) scored.push({ name, score });
  }
  return scored.sort((a, b) => b.score - a.score).slice(0, LIMIT)
    .map(({ name }) => name);
}

/** The end of a message that lists near matches; empty without any. */
export function didYouMean(
  wanted: string,
  candidates: Iterable<string>,
): string {
  const near = nearMatches(wanted, candidates);
  return near.length === 0
    ? ""
    : `; near matches: ${near.map((name) => `"${name}"`).join(", ")}`;
}
