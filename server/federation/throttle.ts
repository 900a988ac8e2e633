import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { createFailureLimit, type FailureLimit } from '../failure-limit.ts';

/** Exchanges that are verified at the same time. */
const concurrency = 64;

/** RATE_LIMITED for what is too much. */
export type Throttle = {
  /** Runs an exchange, unless too many of that address failed within a minute: guessing, or keeping us waiting for an issuer. */
  readonly counted: FailureLimit;
  /** Runs the part of it that costs something here, unless too many are under way. Nothing in it may wait for an issuer. */
  inPlace<T>(work: () => Promise<T>): Promise<T>;
};

export function createThrottle(options: { readonly now: () => Date; readonly limitByAddress: boolean }): Throttle {
  let underWay = 0;
  return {
    counted: createFailureLimit({
      now: options.now,
      perMinute: limits.failedExchangesPerMinute,
      counts: (error) => options.limitByAddress && isChainloopError(error) && error.code !== 'RATE_LIMITED',
      message: 'exchange: too many tokens of this address were refused; try again in a minute',
    }),
    async inPlace(work) {
      if (underWay >= concurrency) throw new ChainloopError('RATE_LIMITED', 'exchange: too many at once; try again in a moment');
      underWay++;
      try {
        return await work();
      } finally {
        underWay--;
      }
    },
  };
}
