/**
 * What the benchmarks print and write: sections of Markdown tables.
 *
 * @module
 */

/** A table with what it needs to be read. */
export interface Section {
  /** The heading. */
  readonly title: string;
  /** What was measured, against what, and what a reader may be misled by. */
  readonly notes: readonly string[];
  /** The columns. */
  readonly header: readonly string[];
  /** The cells. */
  readonly rows: readonly (readonly string[])[];
}

/** Milliseconds or microseconds with three digits. */
export function formatTime(milliseconds: number): string {
  return milliseconds < 0.1
    ? `${(milliseconds * 1000).toPrecision(3)} us`
    : `${milliseconds.toPrecision(3)} ms`;
}

/** A ratio with three digits. */
export function formatRatio(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

/** A table in Markdown, its columns aligned for those who read the source. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const widths = header.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i]!.length))
  );
  const line = (cells: readonly string[]): string =>
    `| ${
      cells.map((cell, i) =>
        i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)
      ).join(" | ")
    } |`;
  const rule = `|${
    widths.map((width, i) =>
      i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`
    ).join("|")
  }|`;
  return [line(header), rule, ...rows.map(line)].join("\n");
}

/** A section in Markdown. */
export function formatSection(
  { title, notes, header, rows }: Section,
): string {
  return `## ${title}\n\n${notes.join("\n")}\n\n${formatTable(header, rows)}\n`;
}
