import { assert, assertEquals } from "@std/assert";
import {
  type Column,
  formatNumber,
  formatTable,
  shorten,
  wrapWords,
} from "./table.ts";

const plain = { style: (_style: string, text: string) => text };

interface Row {
  readonly name: string;
  readonly value: number;
}

const columns: readonly Column<Row>[] = [
  { title: "name", cell: ({ name }) => name, shrink: true },
  { title: "value", cell: ({ value }) => `${value}`, align: "right" },
];

Deno.test("a table has a heading, a rule and aligned cells", () => {
  const rows = [{ name: "a", value: 1 }, { name: "long", value: 1000 }];
  assertEquals(
    formatTable(rows, columns, plain),
    [
      "name  value",
      "----  -----",
      "a         1",
      "long   1000",
    ].join("\n"),
  );
});

Deno.test("a wide column gives way, and nothing passes 80 columns", () => {
  const rows = [{ name: "x".repeat(200), value: 123456 }];
  for (const line of formatTable(rows, columns, plain).split("\n")) {
    assert(line.length <= 80, line);
  }
});

Deno.test("names are cut in the middle", () => {
  assertEquals(shorten("block_12_bn", 11), "block_12_bn");
  assertEquals(shorten("block_12_batch_norm", 9), "bloc…norm");
});

Deno.test("small numbers are written with an exponent", () => {
  assertEquals(formatNumber(0.001), "0.001");
  assertEquals(formatNumber(1.001e-5), "1.001e-5");
  assertEquals(formatNumber(0), "0");
});

Deno.test("words are wrapped below their head", () => {
  const words = Array.from({ length: 30 }, (_, i) => `word${i}`);
  const text = `head: ${wrapWords(words, 6)}`;
  for (const line of text.split("\n")) assert(line.length <= 80, line);
  assertEquals(text.replace(/\s+/g, " "), `head: ${words.join(" ")}`);
});
