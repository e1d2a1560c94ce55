/**
 * The error of a request that cannot be served.
 *
 * @module
 */

/** A request is at fault; its status says how. */
export class RequestError extends Error {
  /** The HTTP status, 400 to 499. */
  readonly status: number;

  /**
   * Makes an error.
   *
   * @param status The HTTP status, 400 to 499.
   * @param message What was expected, and what came.
   */
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
