/**
 * Python pickles, as data: nothing is imported, called or executed. Where a
 * pickle names a class or calls a function, the result is a record of that.
 *
 * Only the opcodes are understood that NumPy and Keras write for arrays
 * (protocols 3 and 4), and only the names that the caller allows.
 *
 * Format: CPython's `Lib/pickletools.py`.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** A name that a pickle refers to. */
export class PickleGlobal {
  /** Module and name, such as `numpy.ndarray`. */
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** What a pickle makes by calling something. */
export class PickleCall {
  /** What is called. */
  readonly callee: PickleGlobal | PickleCall;
  /** The arguments. */
  readonly args: readonly PickleValue[];
  /** What it is given afterwards (`__setstate__`). */
  state: PickleValue = null;
  constructor(
    callee: PickleGlobal | PickleCall,
    args: readonly PickleValue[],
  ) {
    this.callee = callee;
    this.args = args;
  }
}

/** A value in a pickle; tuples and lists are arrays, an empty set too. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | PickleCall;

/** On the stack, where a variable number of items starts. */
const MARK = Symbol("mark");
type StackItem = PickleValue | typeof MARK;

class Unpickler {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #allowed: ReadonlySet<string>;
  readonly #what: string;
  readonly #stack: StackItem[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;

  constructor(bytes: Uint8Array, allowed: ReadonlySet<string>, what: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#allowed = allowed;
    this.#what = what;
  }

  fail(reason: string): never {
    throw new FormatError(
      `Cannot read the pickle ${this.#what}: ${reason}, at byte ${this.#at}`,
    );
  }

  take(length: number): Uint8Array {
    if (!(length <= this.#bytes.length - this.#at)) {
      this.fail("it is truncated");
    }
    return this.#bytes.subarray(this.#at, this.#at += length);
  }

  uint(bytes: 1 | 2 | 4 | 8): number {
    const at = this.#at;
    this.take(bytes);
    if (bytes === 1) return this.#view.getUint8(at);
    if (bytes === 2) return this.#view.getUint16(at, true);
    if (bytes === 4) return this.#view.getUint32(at, true);
    return Number(this.#view.getBigUint64(at, true));
  }

  int32(): number {
    return this.uint(4) | 0;
  }

  text(bytes: 1 | 4): string {
    return new TextDecoder().decode(this.take(this.uint(bytes)));
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) this.fail("it is truncated");
    const text = new TextDecoder().decode(this.take(end - this.#at));
    this.#at++;
    return text;
  }

  push(value: StackItem): void {
    this.#stack.push(value);
  }

  pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) this.fail("its stack is empty");
    return value;
  }

  /** The item on top, of one of two classes. */
  top(): PickleValue {
    const value = this.pop();
    this.push(value);
    return value;
  }

  popToMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) this.fail("it has no mark");
    const items = this.#stack.splice(mark).slice(1);
    return items as PickleValue[];
  }

  global(name: string): void {
    if (!this.#allowed.has(name)) {
      this.fail(`it refers to ${name}, which is not read`);
    }
    this.push(new PickleGlobal(name));
  }

  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickleGlobal || callee instanceof PickleCall)) {
      this.fail("it calls what is no function");
    }
    if (!Array.isArray(args)) this.fail("it calls without arguments");
    this.push(new PickleCall(callee, args));
  }

  setItems(items: PickleValue[]): void {
    const map = this.top();
    if (!(map instanceof Map) || items.length % 2 !== 0) {
      this.fail("it puts items into what is no dict");
    }
    for (let i = 0; i < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
  }

  append(items: PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) this.fail("it appends to what is no list");
    for (const item of items) list.push(item);
  }

  memoize(index = this.#memo.size): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) {
      this.fail(`it recalls item ${index}, not yet seen`);
    }
    this.push(value);
  }

  build(): void {
    const state = this.pop();
    const object = this.top();
    if (!(object instanceof PickleCall)) this.fail("it sets what has no state");
    object.state = state;
  }

  stackGlobal(): void {
    const name = this.pop();
    const module = this.pop();
    if (typeof name !== "string" || typeof module !== "string") {
      this.fail("it names something without a name");
    }
    this.global(`${module}.${name}`);
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.uint(1);
      if (opcode === STOP) break;
      const step = OPCODES[opcode];
      if (!step) {
        this.fail(
          `it has the opcode 0x${
            opcode.toString(16).padStart(2, "0")
          }, which is not read`,
        );
      }
      step(this);
    }
    const result = this.pop();
    if (this.#stack.length > 0) this.fail("it leaves items on its stack");
    return result;
  }
}

const STOP = 0x2e;

/** What each opcode does; the comments have pickletools' names. */
const OPCODES: Readonly<Record<number, (u: Unpickler) => void>> = {
  0x80: (u) => { // PROTO
    const protocol = u.uint(1);
    if (protocol > 5) u.fail(`it has protocol ${protocol}`);
  },
  0x95: (u) => void u.take(8), // FRAME
  0x28: (u) => u.push(MARK),
  0x4e: (u) => u.push(null), // NONE
  0x88: (u) => u.push(true), // NEWTRUE
  0x89: (u) => u.push(false), // NEWFALSE
  0x4a: (u) => u.push(u.int32()), // BININT
  0x4b: (u) => u.push(u.uint(1)), // BININT1
  0x4d: (u) => u.push(u.uint(2)), // BININT2
  0x8a: (u) => u.push(littleEndian(u.take(u.uint(1)))), // LONG1
  0x47: (u) => u.push(bigEndianFloat(u.take(8))), // BINFLOAT
  0x58: (u) => u.push(u.text(4)), // BINUNICODE
  0x8c: (u) => u.push(u.text(1)), // SHORT_BINUNICODE
  0x42: (u) => u.push(u.take(u.uint(4))), // BINBYTES
  0x43: (u) => u.push(u.take(u.uint(1))), // SHORT_BINBYTES
  0x8e: (u) => u.push(u.take(u.uint(8))), // BINBYTES8
  0x29: (u) => u.push([]), // EMPTY_TUPLE
  0x85: (u) => u.push([u.pop()]), // TUPLE1
  0x86: (u) => u.push([u.pop(), u.pop()].reverse()), // TUPLE2
  0x87: (u) => u.push([u.pop(), u.pop(), u.pop()].reverse()), // TUPLE3
  0x74: (u) => u.push(u.popToMark()), // TUPLE
  0x5d: (u) => u.push([]), // EMPTY_LIST
  0x61: (u) => u.append([u.pop()]), // APPEND
  0x65: (u) => u.append(u.popToMark()), // APPENDS
  0x7d: (u) => u.push(new Map()), // EMPTY_DICT
  0x73: (u) => u.setItems([u.pop(), u.pop()].reverse()), // SETITEM
  0x75: (u) => u.setItems(u.popToMark()), // SETITEMS
  0x8f: (u) => u.push([]), // EMPTY_SET
  0x94: (u) => u.memoize(), // MEMOIZE
  0x71: (u) => u.memoize(u.uint(1)), // BINPUT
  0x72: (u) => u.memoize(u.uint(4)), // LONG_BINPUT
  0x68: (u) => u.recall(u.uint(1)), // BINGET
  0x6a: (u) => u.recall(u.uint(4)), // LONG_BINGET
  0x63: (u) => u.global(`${u.line()}.${u.line()}`), // GLOBAL
  0x93: (u) => u.stackGlobal(), // STACK_GLOBAL
  0x52: (u) => u.call(), // REDUCE
  0x81: (u) => u.call(), // NEWOBJ
  0x62: (u) => u.build(), // BUILD
};

/** A signed integer of any width; beyond 2^53 rounded. */
function littleEndian(bytes: Uint8Array): number {
  let value = 0n;
  bytes.forEach((byte, i) => value |= BigInt(byte) << BigInt(8 * i));
  return Number(BigInt.asIntN(8 * bytes.length, value));
}

function bigEndianFloat(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0);
}

/**
 * Reads a pickle without executing anything.
 *
 * @param bytes The pickle.
 * @param allowed The names that it may refer to, such as `numpy.ndarray`.
 * @param what What it is, for messages.
 *
 * @throws {FormatError} If it is damaged or truncated, or has an opcode or a
 * name that is not allowed, which the message then names.
 */
export function readPickle(
  bytes: Uint8Array,
  allowed: ReadonlySet<string>,
  what: string,
): PickleValue {
  return new Unpickler(bytes, allowed, what).run();
}
