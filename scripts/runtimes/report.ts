/**
 * The table of runtimes and features, as the report and the README have it.
 *
 * @module
 */

import { COMMAND_FEATURE } from "./runtime.ts";
import { FEATURES, type Outcome } from "./suite.ts";

/** A row of the table: a runtime and what came of each feature. */
export interface Row {
  readonly name: string;
  readonly by: string;
  readonly outcomes: readonly Outcome[];
  /** Why it was not tried, if it was not. */
  readonly missing?: string;
}

const COLUMNS: readonly string[] = [...FEATURES, COMMAND_FEATURE];

/** The table in Markdown, with what is refused as notes below. */
export function formatTable(rows: readonly Row[]): string {
  const notes: string[] = [];
  const cell = ({ outcomes, missing }: Row, feature: string): string => {
    if (missing !== undefined) return "not tried";
    const outcome = outcomes.find((outcome) => outcome.feature === feature);
    if (!outcome) return "-";
    if (outcome.state !== "refused") {
      return outcome.state === "ok" ? "yes" : "FAILED";
    }
    if (!notes.includes(outcome.detail)) notes.push(outcome.detail);
    return `no (${notes.indexOf(outcome.detail) + 1})`;
  };
  const lines = [
    ["runtime", "imports by", ...COLUMNS],
    ["---", "---", ...COLUMNS.map(() => "---")],
    ...rows.map((row) => [
      row.name,
      row.by,
      ...COLUMNS.map((feature) => cell(row, feature)),
    ]),
  ].map((cells) => `| ${cells.join(" | ")} |`);
  return [
    ...lines,
    "",
    ...notes.map((note, i) => `(${i + 1}) ${note}`),
  ].join("\n").trimEnd();
}

/** What is wrong with a row, in sentences; nothing, if it was not tried. */
export function complaintsOf(
  { name, by, outcomes, missing }: Row,
  expected: ReadonlyMap<string, string>,
): string[] {
  if (missing !== undefined) return [];
  return FEATURES.flatMap((feature): string[] => {
    const outcome = outcomes.find((outcome) => outcome.feature === feature);
    const where = `${name} (${by}), ${feature}`;
    if (!outcome) return [`${where}: did not run`];
    const { state, detail } = outcome;
    if (state === "failed") return [`${where}: ${detail}`];
    return state === "ok" && detail !== expected.get(feature)
      ? [`${where}: other bits than the sources give`]
      : [];
  }).concat(
    outcomes.filter(({ feature, state }) =>
      feature === COMMAND_FEATURE && state !== "ok"
    ).map(({ detail }) => `${name} (${by}), ${COMMAND_FEATURE}: ${detail}`),
  );
}
