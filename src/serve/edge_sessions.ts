/**
 * What workers that serve whole ONNX models are made of.
 *
 * @module
 */

export { setKernels } from "../kernels/dispatch.ts";
export { edgeHandler } from "./edge_handler.ts";
export { sessionModel } from "./session_model.ts";
