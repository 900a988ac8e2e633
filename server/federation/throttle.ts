import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';

/** Exchanges that are verified at the same time. */
const concurrency = 64;
/** Addresses that are remembered: the oldest is forgotten. */
const addresses = 10_000;
const windowMs = 60_000;

/** RATE_LIMITED for what is too much. */
export type Throttle = {
  /** Runs an exchange, unless too many of that address failed within a minute. */
  counted<T>(address: string, exchange: () => Promise<T>): Promise<T>;
  /** Runs the part of it that costs something here, unless too many are under way. Nothing in it may wait for an issuer. */
  inPlace<T>(work: () => Promise<T>): Promise<T>;
};

/** Only failures count: a thousand jobs behind one address do no harm; guessing does, and keeping us waiting for an issuer. */
export function createThrottle(options: { readonly now: () => Date; readonly limitByAddress: boolean }): Throttle {
  const failures = new Map<string, { readonly since: number; count: number }>();
  let underWay = 0;

  function count(address: string, now: number): void {
    const window = failures.get(address);
    if (window !== undefined && now - window.since < windowMs) {
      window.count++;
      return;
    }
    failures.delete(address);
    const oldest = failures.size >= addresses ? failures.keys().next().value : undefined;
    if (oldest !== undefined) failures.delete(oldest);
    failures.set(address, { since: now, count: 1 });
  }

  return {
    async counted(address, exchange) {
      const now = options.now().getTime();
      const window = failures.get(address);
      if (window !== undefined && window.count >= limits.failedExchangesPerMinute && now - window.since < windowMs) {
        throw new ChainloopError('RATE_LIMITED', 'exchange: too many tokens of this address were refused; try again in a minute');
      }
      try {
        return await exchange();
      } catch (error) {
        if (options.limitByAddress && isChainloopError(error) && error.code !== 'RATE_LIMITED') count(address, now);
        throw error;
      }
    },
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
