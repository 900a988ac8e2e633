import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';

/** Exchanges that are verified at the same time. */
const concurrency = 64;
/** Addresses that are remembered: the oldest is forgotten. */
const addresses = 10_000;
const windowMs = 60_000;

/** Runs an exchange, unless too many are under way, or too many of that address were refused within a minute: RATE_LIMITED. */
export type Throttle = <T>(address: string, exchange: () => Promise<T>) => Promise<T>;

/** Only refusals count: a thousand jobs behind one address do no harm, guessing does. */
export function createThrottle(options: { readonly now: () => Date; readonly limitByAddress: boolean }): Throttle {
  const refusals = new Map<string, { readonly since: number; count: number }>();
  let underWay = 0;

  function count(address: string, now: number): void {
    const window = refusals.get(address);
    if (window !== undefined && now - window.since < windowMs) {
      window.count++;
      return;
    }
    refusals.delete(address);
    const oldest = refusals.size >= addresses ? refusals.keys().next().value : undefined;
    if (oldest !== undefined) refusals.delete(oldest);
    refusals.set(address, { since: now, count: 1 });
  }

  return async (address, exchange) => {
    const now = options.now().getTime();
    const window = refusals.get(address);
    if (window !== undefined && window.count >= limits.refusedExchangesPerMinute && now - window.since < windowMs) {
      throw new ChainloopError('RATE_LIMITED', 'exchange: too many tokens of this address were refused; try again in a minute');
    }
    if (underWay >= concurrency) throw new ChainloopError('RATE_LIMITED', 'exchange: too many at once; try again in a moment');
    underWay++;
    try {
      return await exchange();
    } catch (error) {
      // What this side or the issuer failed to do is nobody's fault.
      if (options.limitByAddress && isChainloopError(error) && error.code !== 'CONTROL_PLANE_UNREACHABLE') count(address, now);
      throw error;
    } finally {
      underWay--;
    }
  };
}
