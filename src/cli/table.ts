/**
 * Tables of at most 80 columns.
 *
 * @module
 */

import type { Style, Terminal } from "./terminal.ts";

/** The widest line that is printed. */
export const WIDTH = 80;

const GAP = "  ";

/** No column shrinks below this. */
const LEAST = 8;

/** A column of a table. */
export interface Column<Row> {
  /** The heading. */
  readonly title: string;
  /** The text of one cell. */
  readonly cell: (row: Row) => string;
  /** Numbers stand right; default left. */
  readonly align?: "left" | "right";
  /** How a cell is marked on a terminal. */
  readonly style?: (row: Row) => Style | undefined;
  /** Whether the column is cut when the table is too wide; default false. */
  readonly shrink?: boolean;
}

/** Cuts in the middle: layer names differ at their ends. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.ceil((width - 1) / 2);
  return `${text.slice(0, head)}…${
    text.slice(text.length - (width - 1 - head))
  }`;
}

/** A number as it is read best: `0.001`, but `1.001e-5`. */
export function formatNumber(value: number): string {
  return value !== 0 && Math.abs(value) < 1e-4
    ? value.toExponential()
    : String(value);
}

/** Breaks a list of words into lines of at most 80 columns, indented. */
export function wrapWords(words: readonly string[], indent: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = "";
    }
    line = line ? `${line} ${word}` : word;
  }
  if (line) lines.push(line);
  return lines.join(`\n${" ".repeat(indent)}`);
}

/**
 * Formats rows as a table: a heading, a rule and a line per row.
 *
 * @param rows The rows.
 * @param columns The columns; those that shrink give way to fit 80 columns.
 * @param terminal Marks the text.
 */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  terminal: Pick<Terminal, "style">,
): string {
  const cells = rows.map((row) => columns.map((column) => column.cell(row)));
  const widths = columns.map((column, c) =>
    Math.max(column.title.length, ...cells.map((line) => line[c]!.length))
  );
  const total = () =>
    widths.reduce((a, b) => a + b, 0) + GAP.length * (columns.length - 1);
  // The widest column that may shrink gives way first.
  const shrinkable = columns.flatMap(({ shrink }, c) => shrink ? [c] : []);
  while (total() > WIDTH) {
    const widest = shrinkable.reduce((a, b) => widths[b]! > widths[a]! ? b : a);
    if (widths[widest]! <= LEAST) break;
    widths[widest]!--;
  }
  const pad = (text: string, c: number): string => {
    const cut = shorten(text, widths[c]!);
    return columns[c]!.align === "right"
      ? cut.padStart(widths[c]!)
      : cut.padEnd(widths[c]!);
  };
  const line = (texts: string[]): string => texts.join(GAP).trimEnd();
  return [
    terminal.style(
      "bold",
      line(columns.map((column, c) => pad(column.title, c))),
    ),
    terminal.style("dim", widths.map((w) => "-".repeat(w)).join(GAP)),
    ...rows.map((row, r) =>
      line(columns.map((column, c) => {
        const text = pad(cells[r]![c]!, c);
        const style = column.style?.(row);
        return style ? terminal.style(style, text) : text;
      }))
    ),
  ].join("\n");
}
