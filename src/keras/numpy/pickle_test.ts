import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../errors.ts";
import { PickleCall, PickleGlobal, readPickle } from "./pickle.ts";

const PROTO_4 = "\x80\x04";

/** A pickle, from a string whose characters are its bytes. */
function pickle(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function read(text: string, ...allowed: string[]): unknown {
  return readPickle(pickle(text), new Set(allowed), "it");
}

Deno.test("readPickle() reads plain values", () => {
  for (
    const [text, value] of [
      ["N.", null],
      ["\x88.", true],
      ["\x89.", false],
      ["K\xff.", 255],
      ["M\x01\x02.", 0x201],
      ["J\xfe\xff\xff\xff.", -2],
      ["\x8a\x00.", 0],
      ["\x8a\x05\x00\x00\x00\x00\x80.", -(2 ** 39)],
      ["G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 1.5],
      ["\x8c\x02\xc3\xa9.", "é"],
      ["X\x01\x00\x00\x00a.", "a"],
      [").", []],
      ["K\x01\x85.", [1]],
      ["K\x01K\x02\x86.", [1, 2]],
      ["K\x01K\x02K\x03\x87.", [1, 2, 3]],
      ["(K\x01K\x02t.", [1, 2]],
      ["]K\x01a.", [1]],
      ["](K\x01K\x02e.", [1, 2]],
      ["}\x8c\x01aK\x01s.", new Map([["a", 1]])],
      ["}(\x8c\x01aK\x01\x8c\x01bK\x02u.", new Map([["a", 1], ["b", 2]])],
      ["\x8f.", []],
    ] as const
  ) {
    assertEquals<unknown>(read(PROTO_4 + text), value);
  }
});

Deno.test("readPickle() reads bytes of all lengths", () => {
  for (
    const head of ["C\x02", "B\x02\x00\x00\x00", "\x8e\x02" + "\x00".repeat(7)]
  ) {
    assertEquals(read(`${head}hi.`), new Uint8Array([0x68, 0x69]));
  }
});

Deno.test("readPickle() recalls what it has seen", () => {
  assertEquals(read("\x8c\x01a\x94h\x00\x86."), ["a", "a"]);
  assertEquals(read("\x8c\x01aq\x05h\x05\x86."), ["a", "a"]);
  assertEquals(
    read("\x8c\x01ar\x05\x00\x00\x00j\x05\x00\x00\x00\x86."),
    ["a", "a"],
  );
});

Deno.test("readPickle() records calls and does not make them", () => {
  const call = read("cos\nsystem\n\x8c\x02ls\x85RK\x07b.", "os.system");
  const expected = new PickleCall(new PickleGlobal("os.system"), ["ls"]);
  expected.state = 7;
  assertEquals(call, expected);
});

Deno.test("readPickle() refuses names that are not allowed", () => {
  for (const text of ["cos\nsystem\n.", "\x8c\x02os\x8c\x06system\x93."]) {
    assertThrows(
      () => read(text, "os.path"),
      FormatError,
      "it refers to os.system, which is not read",
    );
  }
});

Deno.test("readPickle() refuses damaged pickles", () => {
  for (
    const [text, message] of [
      ["", "it is truncated"],
      ["K", "it is truncated"],
      ["\x8c\x05ab.", "it is truncated"],
      ["\x8e" + "\xff".repeat(8), "it is truncated"],
      ["cos", "it is truncated"],
      ["\x80\x06N.", "it has protocol 6"],
      ["i.", "it has the opcode 0x69, which is not read"],
      ["\x82\x01.", "it has the opcode 0x82"],
      [".", "its stack is empty"],
      ["(.", "its stack is empty"],
      ["NN.", "it leaves items on its stack"],
      ["t.", "it has no mark"],
      ["h\x00.", "it recalls item 0, not yet seen"],
      ["NK\x01a.", "it appends to what is no list"],
      ["N(K\x01K\x02u.", "it puts items into what is no dict"],
      ["}(K\x01u.", "it puts items into what is no dict"],
      ["N)R.", "it calls what is no function"],
      ["ca\nb\nNR.", "it calls without arguments"],
      ["NNb.", "it sets what has no state"],
      ["NN\x93.", "it names something without a name"],
    ] as const
  ) {
    assertThrows(() => read(text, "a.b"), FormatError, message);
  }
});
