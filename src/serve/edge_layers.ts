/**
 * What workers that serve single layers are made of.
 *
 * @module
 */

export { setKernels } from "../kernels/inference_dispatch.ts";
export { edgeHandler } from "./edge_handler.ts";
export { layerModel } from "./layer_model.ts";
