/**
 * Where the arrays that kernels are given can be.
 *
 * @module
 */

import {
  bytesPerElement,
  createData,
  type ElementType,
  type TensorData,
} from "../../tensor.ts";
import { allocateOff, copyInto, viewLike } from "./arrays.ts";

/**
 * A way in which arrays can be given: makes `x` (with the input's values) and
 * `y`, of which `dispose` frees what there is to free.
 */
export interface Placement {
  /** For messages. */
  readonly name: string;
  /** Makes the arrays. */
  place(
    type: ElementType,
    input: TensorData,
  ): { x: TensorData; y: TensorData; dispose?: () => void };
}

/** All ways. */
export const PLACEMENTS: readonly Placement[] = [
  {
    name: "new output",
    place: (type, x) => ({ x, y: createData(type, x.length) }),
  },
  {
    name: "in place",
    place: (_type, input) => {
      const x = input.slice();
      return { x, y: x };
    },
  },
  {
    name: "views of any alignment",
    place: (type, input) => {
      const bytes = bytesPerElement(type);
      const buffer = new ArrayBuffer(input.byteLength + 16);
      const x = copyInto(viewLike(input, buffer, bytes), input);
      const output = new ArrayBuffer(input.byteLength + 16);
      return { x, y: viewLike(input, output, 16 - bytes) };
    },
  },
  {
    name: "views of shared memory",
    place: (_type, input) => {
      const shared = (): TensorData =>
        viewLike(input, new SharedArrayBuffer(input.byteLength), 0);
      return { x: copyInto(shared(), input), y: shared() };
    },
  },
  {
    name: "both allocated",
    place: (type, input) => {
      const x = allocateOff(type, input.length);
      const y = allocateOff(type, input.length);
      copyInto(x.data, input);
      return {
        x: x.data,
        y: y.data,
        dispose: () => (x.dispose(), y.dispose()),
      };
    },
  },
  {
    name: "allocated in place",
    place: (type, input) => {
      const { data, dispose } = allocateOff(type, input.length);
      return { x: copyInto(data, input), y: data, dispose };
    },
  },
  {
    name: "input allocated",
    place: (type, input) => {
      const { data, dispose } = allocateOff(type, input.length);
      const y = createData(type, input.length);
      return { x: copyInto(data, input), y, dispose };
    },
  },
  {
    name: "output allocated",
    place: (type, x) => {
      const { data, dispose } = allocateOff(type, x.length);
      return { x, y: data, dispose };
    },
  },
];
