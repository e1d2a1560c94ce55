/**
 * The error classes: every error that Evenkeel throws on purpose is an
 * {@linkcode EvenkeelError} with a stable `code`.
 *
 * @module
 */

/** The stable codes that {@linkcode EvenkeelError.code} takes. */
export type ErrorCode =
  | "EVENKEEL_SHAPE"
  | "EVENKEEL_OPTION"
  | "EVENKEEL_FORMAT"
  | "EVENKEEL_UNSUPPORTED"
  | "EVENKEEL_THREAD";

/**
 * The base class of all errors that Evenkeel throws on purpose.
 *
 * The message says what was expected, what came and what to do; programs
 * branch on `code`, which never changes between releases.
 *
 * @example Tell Evenkeel's errors from others
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { EvenkeelError, tensor } from "@evenkeel/evenkeel";
 *
 * try {
 *   tensor([1, 2, 3], [2, 2]);
 * } catch (error) {
 *   assertEquals(error instanceof EvenkeelError && error.code, "EVENKEEL_SHAPE");
 * }
 * ```
 */
export class EvenkeelError extends Error {
  /** A stable identifier of the kind of error. */
  readonly code: ErrorCode;

  /**
   * Makes an error with a stable code.
   *
   * @param code The stable identifier of the kind of error.
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A tensor, a weight or an axis does not fit: rank, extents or element count. */
export class ShapeError extends EvenkeelError {
  /**
   * Makes a shape error.
   *
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("EVENKEEL_SHAPE", message, options);
  }
}

/** An option or argument has a value that is not allowed. */
export class OptionError extends EvenkeelError {
  /**
   * Makes an option error.
   *
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("EVENKEEL_OPTION", message, options);
  }
}

/** A file is malformed, truncated, or is not what it claims to be. */
export class FormatError extends EvenkeelError {
  /**
   * Makes a format error.
   *
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("EVENKEEL_FORMAT", message, options);
  }
}

/** The request is well-formed, but this build or this runtime cannot serve it. */
export class UnsupportedError extends EvenkeelError {
  /**
   * Makes an unsupported error.
   *
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("EVENKEEL_UNSUPPORTED", message, options);
  }
}

/**
 * A thread of a pool failed in the middle of a call, whose outputs are not
 * complete; the next call works.
 */
export class ThreadError extends EvenkeelError {
  /**
   * Makes a thread error.
   *
   * @param message What was expected, what came and what to do.
   * @param options The standard error options, such as `cause`.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("EVENKEEL_THREAD", message, options);
  }
}
