/**
 * Nodes in an order in which they can run.
 *
 * @module
 */

import { FormatError } from "../errors.ts";
import type { NodeCall } from "./calls.ts";

/**
 * Sorts nodes so that each stands behind those whose outputs it takes; the
 * order that the file has is kept if it does.
 *
 * @throws {FormatError} If some wait for each other.
 */
export function sortCalls(calls: readonly NodeCall[]): readonly NodeCall[] {
  const maker = new Map<number, number>();
  calls.forEach(({ outputs }, i) => {
    for (const id of outputs) if (id >= 0) maker.set(id, i);
  });
  const isSorted = calls.every(({ inputs }, i) =>
    inputs.every((id) => (maker.get(id) ?? -1) < i)
  );
  if (isSorted) return calls;
  const users = calls.map((): number[] => []);
  const waiting = calls.map(({ inputs }, i) => {
    const makers = inputs.flatMap((id) => maker.get(id) ?? []);
    for (const each of makers) users[each]!.push(i);
    return makers.length;
  });
  const ready = calls.flatMap((_, i) => waiting[i] === 0 ? [i] : []);
  for (let next = 0; next < ready.length; next++) {
    for (const user of users[ready[next]!]!) {
      if (--waiting[user]! === 0) ready.push(user);
    }
  }
  if (ready.length < calls.length) {
    const stuck = calls.find((_, i) => waiting[i]! > 0)!;
    throw new FormatError(
      `Cannot load the model: its graph has a cycle through or before ${stuck.label}`,
    );
  }
  return ready.map((i) => calls[i]!);
}
