import { assertEquals, assertInstanceOf } from "@std/assert";
import {
  EvenkeelError,
  FormatError,
  OptionError,
  ShapeError,
  ThreadError,
  UnsupportedError,
} from "./errors.ts";

for (
  const [ErrorClass, code] of [
    [ShapeError, "EVENKEEL_SHAPE"],
    [OptionError, "EVENKEEL_OPTION"],
    [FormatError, "EVENKEEL_FORMAT"],
    [UnsupportedError, "EVENKEEL_UNSUPPORTED"],
    [ThreadError, "EVENKEEL_THREAD"],
  ] as const
) {
  Deno.test(`${ErrorClass.name} has its name, code, message and cause`, () => {
    const cause = new Error("inner");
    const error = new ErrorClass("outer", { cause });
    assertInstanceOf(error, EvenkeelError);
    assertInstanceOf(error, Error);
    assertEquals(error.name, ErrorClass.name);
    assertEquals(error.code, code);
    assertEquals(error.message, "outer");
    assertEquals(error.cause, cause);
  });
}
