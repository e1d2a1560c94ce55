/**
 * Glorot's, He's and LeCun's choices of VarianceScaling.
 *
 * @module
 */

import type { JsonObject } from "./keras_object.ts";
import { type FanOptions, VarianceScaling } from "./variance_scaling.ts";

/** A named choice of {@linkcode VarianceScaling}, saved with its seed only. */
export abstract class NamedScaling extends VarianceScaling {
  /** Nothing: the name says it all. */
  protected override ownConfig(): JsonObject {
    return {};
  }
}

/** Glorot and Bengio, 2010: uniform within `sqrt(6 / (fan in + fan out))`. */
export class GlorotUniform extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "GlorotUniform";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({ ...options, scale: 1, mode: "fan_avg", distribution: "uniform" });
  }
}

/** Glorot and Bengio, 2010: truncated normal, variance `2 / (fan in + fan out)`. */
export class GlorotNormal extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "GlorotNormal";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({
      ...options,
      scale: 1,
      mode: "fan_avg",
      distribution: "truncated_normal",
    });
  }
}

/** He et al., 2015: uniform within `sqrt(6 / fan in)`. */
export class HeUniform extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "HeUniform";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({ ...options, scale: 2, mode: "fan_in", distribution: "uniform" });
  }
}

/** He et al., 2015: truncated normal, variance `2 / fan in`. */
export class HeNormal extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "HeNormal";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({
      ...options,
      scale: 2,
      mode: "fan_in",
      distribution: "truncated_normal",
    });
  }
}

/** LeCun et al., 1998: uniform within `sqrt(3 / fan in)`. */
export class LecunUniform extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "LecunUniform";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({ ...options, scale: 1, mode: "fan_in", distribution: "uniform" });
  }
}

/** LeCun et al., 1998: truncated normal, variance `1 / fan in`. */
export class LecunNormal extends NamedScaling {
  /** The name of the Keras class. */
  override get className(): string {
    return "LecunNormal";
  }

  /**
   * Makes the initializer.
   *
   * @param options The seed.
   *
   * @throws {OptionError} If the seed is none.
   */
  constructor(options: FanOptions = {}) {
    super({
      ...options,
      scale: 1,
      mode: "fan_in",
      distribution: "truncated_normal",
    });
  }
}
