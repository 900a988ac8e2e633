import { createHash } from 'node:crypto';
import { ChainloopError } from '../core/errors.ts';

/** Addresses that are remembered: the oldest is forgotten. */
const addresses = 10_000;
const windowMs = 60_000;

/**
 * Runs work for an address. RATE_LIMITED when too much of it failed within a minute. The same `attempt` again counts once: who tries a stale token
 * over and over guesses nothing, and must not lock out its neighbours.
 */
export type FailureLimit = <T>(address: string, work: () => Promise<T>, attempt?: string) => Promise<T>;

/** Only failures count, and of them those that `counts` says: a thousand jobs behind one address do no harm, guessing does. */
export function createFailureLimit(options: {
  readonly now: () => Date;
  readonly perMinute: number;
  readonly counts: (error: unknown) => boolean;
  /** What whoever is over the limit reads. */
  readonly message: string;
}): FailureLimit {
  const failures = new Map<string, { readonly since: number; count: number; readonly attempts: Set<number> }>();

  function count(address: string, now: number, attempt: string | undefined): void {
    const mark = attempt === undefined ? undefined : createHash('sha256').update(attempt).digest().readUInt32LE();
    const window = failures.get(address);
    if (window !== undefined && now - window.since < windowMs) {
      if (mark === undefined || !window.attempts.has(mark)) window.count++;
      if (mark !== undefined) window.attempts.add(mark);
      return;
    }
    failures.delete(address);
    const oldest = failures.size >= addresses ? failures.keys().next().value : undefined;
    if (oldest !== undefined) failures.delete(oldest);
    failures.set(address, { since: now, count: 1, attempts: new Set(mark === undefined ? [] : [mark]) });
  }

  return async (address, work, attempt) => {
    const now = options.now().getTime();
    const window = failures.get(address);
    if (window !== undefined && window.count >= options.perMinute && now - window.since < windowMs) {
      throw new ChainloopError('RATE_LIMITED', options.message);
    }
    try {
      return await work();
    } catch (error) {
      if (options.counts(error)) count(address, now, attempt);
      throw error;
    }
  };
}
