import { setTimeout as delay } from 'node:timers/promises';
import { limits } from '../limits.ts';

/** How often and how long something is tried again. */
export type RetryPolicy = {
  /** Tries in all, the first included; those that the other side put off (Retry-After) do not count. */
  readonly attempts: number;
  /** The first pause; each further one is twice as long, up to `maxDelayMs`. Half of a pause is random, so that clients spread. */
  readonly baseDelayMs: number;
  readonly maxDelayMs: number;
  /** All pauses together, those that the server asks for (Retry-After) included. */
  readonly budgetMs: number;
};

export const defaultRetryPolicy: RetryPolicy = {
  attempts: limits.attempts,
  baseDelayMs: 500,
  maxDelayMs: 8_000,
  budgetMs: limits.retryBudgetMs,
};

/** What a failure says about trying again: `retry: false` ends it; `afterMs` is what the other side asked for. */
export type Verdict = { readonly retry: boolean; readonly afterMs?: number | undefined };

/** The pauses of one operation. `false`: no tries are left, or the wait that was asked for is longer than the budget. */
export type Pauses = {
  wait(afterMs?: number): Promise<boolean>;
  /** Progress was made: the tries begin anew, the budget stays. */
  reset(): void;
};

/** Counts tries and sleeps between them. An aborted signal ends a pause with its reason. */
export function createPauses(policy: RetryPolicy, signal?: AbortSignal): Pauses {
  let failures = 0;
  let spentMs = 0;
  return {
    async wait(afterMs = 0) {
      // Who says when to come back has not failed: the budget alone ends that.
      if (afterMs === 0) failures++;
      if (failures >= policy.attempts) return false;
      const grown = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failures - 1));
      const pauseMs = Math.max(afterMs, grown / 2 + (Math.random() * grown) / 2);
      if (spentMs + pauseMs > policy.budgetMs) return false;
      spentMs += pauseMs;
      await delay(pauseMs, undefined, { signal });
      return true;
    },
    reset() {
      failures = 0;
    },
  };
}

/** Runs an operation until it succeeds, its failure is final by `judge`, or the policy ends; then throws the last failure. */
export async function retry<T>(
  operation: () => Promise<T>,
  judge: (error: unknown) => Verdict,
  options: { readonly policy?: RetryPolicy; readonly signal?: AbortSignal | undefined } = {},
): Promise<T> {
  const pauses = createPauses(options.policy ?? defaultRetryPolicy, options.signal);
  for (;;) {
    try {
      return await operation();
    } catch (error) {
      const verdict = judge(error);
      if (!verdict.retry || !(await pauses.wait(verdict.afterMs))) throw error;
    }
  }
}

/** Milliseconds of a Retry-After header (RFC 9110, section 10.2.3: seconds or an HTTP date), or undefined. */
export function retryAfterMs(header: string | undefined, now: Date = new Date()): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now.getTime());
}
