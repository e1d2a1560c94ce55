import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { Edits, encodeFields } from "./edit.ts";
import type { Place } from "./view.ts";

/** A message of bytes and messages, each with a field number. */
interface Message {
  readonly number: number;
  readonly body: Uint8Array | readonly Message[];
  /** How many bytes more than needed the length has. */
  readonly slack: number;
}

/** A number as a varint of at least so many bytes. */
function varint(value: number, slack = 0): number[] {
  const bytes: number[] = [];
  for (let rest = value;;) {
    bytes.push(rest % 0x80);
    rest = Math.floor(rest / 0x80);
    if (rest === 0) break;
  }
  for (let i = 0; i < slack; i++) bytes.push(0);
  return bytes.map((byte, i) => i < bytes.length - 1 ? byte | 0x80 : byte);
}

/**
 * Writes messages and notes where each stands. A message for which `edited`
 * tells another body gets that; it, or one around it, has the shortest
 * form of its length if that length changed.
 */
function write(
  messages: readonly Message[],
  parent: Place,
  edited: ReadonlyMap<Message, Uint8Array>,
  all: Map<Message, Place>,
): number[] {
  const bytes: number[] = [];
  /** The body of a message, as if it began at its parent's beginning. */
  function measure(message: Message, changes: typeof edited): number {
    const changed = changes.get(message);
    if (changed) return changed.length;
    return message.body instanceof Uint8Array
      ? message.body.length
      : write(message.body, parent, changes, new Map()).length;
  }
  for (const message of messages) {
    const start = parent.from + bytes.length;
    const length = measure(message, edited);
    const isSame = length === measure(message, new Map());
    const head = [
      ...varint(message.number * 8 + 2),
      ...varint(length, isSame ? message.slack : 0),
    ];
    const from = start + head.length;
    const place: Place = {
      parent,
      start,
      from,
      to: from + length,
      depth: parent.depth + 1,
    };
    all.set(message, place);
    const body = edited.get(message) ?? message.body;
    bytes.push(
      ...head,
      ...(body instanceof Uint8Array ? body : write(body, place, edited, all)),
    );
  }
  return bytes;
}

function leaves(messages: readonly Message[]): Message[] {
  return messages.flatMap((message) =>
    message.body instanceof Uint8Array ? [message] : leaves(message.body)
  );
}

const { messages } = fc.letrec<{ messages: Message[]; message: Message }>((
  tie,
) => ({
  messages: fc.array(tie("message"), { maxLength: 4, depthIdentifier: "m" }),
  message: fc.record({
    number: fc.constantFrom(1, 5, 15, 16, 2047, 2 ** 29 - 1),
    slack: fc.nat(2),
    body: fc.oneof(
      { maxDepth: 4, depthIdentifier: "m" },
      fc.uint8Array({ maxLength: 150 }),
      tie("messages"),
    ),
  }) as fc.Arbitrary<Message>,
}));

function rootOf(length: number): Place {
  return { parent: undefined, start: 0, from: 0, to: length, depth: 0 };
}

Deno.test("an edit changes the message and the lengths around it, nothing else", () => {
  let edits = 0;
  fc.assert(
    fc.property(
      messages,
      fc.array(fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 300 })), {
        maxLength: 3,
      }),
      (tree, wanted) => {
        const all = new Map<Message, Place>();
        const open: Place = rootOf(0);
        const bytes = write(tree, open, new Map(), all);
        const file = Uint8Array.from(bytes);
        const targets = leaves(tree);
        const changes = new Map<Message, Uint8Array>();
        for (const [which, body] of wanted) {
          if (targets.length > 0) {
            changes.set(targets[which % targets.length]!, body);
          }
        }
        const expected = write(tree, open, changes, new Map());
        const edit = new Edits(file);
        for (const [message, body] of changes) {
          const place = all.get(message)!;
          edit.replace(place, place.from, place.to, body);
          edits++;
        }
        // The root's extent is known only now; an Edits needs its end alone.
        (open as { to: number }).to = file.length;
        assertEquals(edit.finish(), Uint8Array.from(expected));
        assertEquals(edit.isEmpty, changes.size === 0);
      },
    ),
    { numRuns: 500 },
  );
  assert(edits > 100, "the trees are too small");
});

Deno.test("without edits the file is the same bytes, and not copied", () => {
  const file = Uint8Array.of(8, 1);
  assertEquals(new Edits(file).pieces(), [file]);
  assert(new Edits(file).pieces()[0] === file);
});

Deno.test("insertions at one place keep their order, before what begins there", () => {
  const file = Uint8Array.fromHex("0a0101120102");
  const root = rootOf(file.length);
  const place = { parent: root, start: 3, from: 5, to: 6, depth: 1 };
  const edits = new Edits(file);
  edits.replace(place, place.from, place.to, Uint8Array.of(7, 7));
  edits.insertBefore(place, Uint8Array.of(0x18, 1));
  edits.insertBefore(place, Uint8Array.of(0x18, 2));
  edits.append(root, Uint8Array.of(0x18, 3));
  assertEquals(
    edits.finish().toHex(),
    "0a0101" + "1801" + "1802" + "12020707" + "1803",
  );
});

Deno.test("set replaces the last of several fields, or adds one", () => {
  const file = Uint8Array.fromHex("080110020803");
  const root = rootOf(file.length);
  const edits = new Edits(file);
  edits.set(root, 1, encodeFields((writer) => writer.integer(1, 300)));
  edits.set(root, 3, encodeFields((writer) => writer.integer(3, 5)));
  assertEquals(edits.finish().toHex(), "0801" + "1002" + "08ac02" + "1805");
});

Deno.test("remove takes a message with its tag", () => {
  const file = Uint8Array.fromHex("0a0101120102");
  const root = rootOf(file.length);
  const edits = new Edits(file);
  edits.remove({ parent: root, start: 0, from: 2, to: 3, depth: 1 });
  assertEquals(edits.finish().toHex(), "120102");
});

Deno.test("overlapping edits are a mistake of the caller", () => {
  const file = Uint8Array.fromHex("0a03010203");
  const root = rootOf(file.length);
  const edits = new Edits(file);
  edits.replace(root, 0, 3);
  edits.replace(root, 2, 5);
  assertThrows(() => edits.finish(), Error, "overlap");
});
