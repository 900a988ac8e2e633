import { isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Database, OrgScope } from '../db/client.ts';
import { type ClaimedEffect, claimEffects, completeEffect, extendLease, failEffect, nextEffectInMs, releaseEffect } from '../db/outbox.ts';
import { systemActor } from './audit-actor.ts';
import type { Log } from './log.ts';

/** What does the effects of one kind. It may be called again for the same effect, after any part of it was done. */
export type EffectHandler = {
  readonly kind: string;
  run(scope: OrgScope, effect: ClaimedEffect, signal: AbortSignal): Promise<void>;
};

/** Works on the outbox, with all other servers on the same database. */
export type Outbox = {
  /** There may be something new. Other servers hear of it, too. */
  wake(): void;
  /** Takes nothing more, and waits for what is under way, as long as servers wait for requests; then that is given back. */
  close(): Promise<void>;
};

/** How patient it is. Default: limits. */
export type OutboxPolicy = {
  readonly leaseMs: number;
  readonly attempts: number;
  readonly pauseMs: number;
  readonly pollMs: number;
  readonly drainMs: number;
};

const defaultPolicy: OutboxPolicy = {
  leaseMs: limits.outboxLeaseMs,
  attempts: limits.outboxAttempts,
  pauseMs: limits.outboxPauseMs,
  pollMs: limits.outboxPollMs,
  drainMs: limits.drainTimeoutMs,
};

/**
 * Starts to do what pushes have left to be done. An effect is taken by a lease in the database: a server that dies leaves it to another
 * one. What fails is tried again after a pause, and waits for an operator when it has failed too often; nothing else waits for it, but
 * what comes after it in the same run. Woken by this server's pushes, by those of others, by what becomes due, and by the clock.
 */
export function startOutbox(deps: {
  readonly database: Database;
  readonly handlers: readonly EffectHandler[];
  readonly log: Log;
  readonly metrics?: { effect(kind: string, outcome: 'done' | 'retried' | 'failed', seconds: number): void } | undefined;
  readonly policy?: Partial<OutboxPolicy> | undefined;
  /** Nothing is taken before then: effects may need what is only known once the server listens. Default: it begins at once. */
  readonly after?: Promise<void> | undefined;
}): Outbox {
  const { database, log, metrics } = deps;
  const { system } = database;
  const policy = { ...defaultPolicy, ...deps.policy };
  const handlers = new Map(deps.handlers.map((handler) => [handler.kind, handler]));
  const kinds = [...handlers.keys()];
  const underWay = new Map<Promise<void>, AbortController>();
  let stopping = false;
  let closing = false;
  let begun = deps.after === undefined;
  let looking: Promise<void> | undefined;
  /** Somebody said that there is something new while we were looking. */
  let again = false;
  let timer: NodeJS.Timeout | undefined;
  let signalling: NodeJS.Timeout | undefined;
  let signalledMs = Number.NEGATIVE_INFINITY;

  function look(): void {
    again = true;
    if (closing || !begun) return;
    looking ??= lookUntilQuiet().finally(() => {
      looking = undefined;
      // Said after the last look, and before its end.
      if (again && underWay.size < limits.outboxConcurrency) look();
    });
  }

  async function lookUntilQuiet(): Promise<void> {
    clearTimeout(timer);
    let nextMs = policy.pollMs;
    try {
      while (again && !closing && underWay.size < limits.outboxConcurrency) {
        again = false;
        const claimed = await claimEffects(system, {
          kinds,
          limit: limits.outboxConcurrency - underWay.size,
          leaseMs: policy.leaseMs,
        });
        for (const effect of claimed) begin(effect);
        if (claimed.length > 0) again = true;
      }
      // A free place looks again by itself; so what is due later matters only when nothing is due now.
      if (underWay.size < limits.outboxConcurrency) nextMs = Math.min(nextMs, Math.max(1, (await nextEffectInMs(system, kinds)) ?? nextMs));
    } catch (error) {
      again = false;
      log.warn({ error }, 'the outbox could not be looked at; tried again later');
    }
    // Jittered, so that servers do not all look at once.
    if (!closing) timer = setTimeout(look, nextMs * (1 + 0.1 * Math.random())).unref();
  }

  function begin(effect: ClaimedEffect): void {
    // One of its own for each: a signal that follows one that lives as long as the server would be kept as long.
    const cut = new AbortController();
    const work = perform(effect, cut).finally(() => {
      underWay.delete(work);
      look();
    });
    underWay.set(work, cut);
  }

  async function perform(effect: ClaimedEffect, cut: AbortController): Promise<void> {
    const { organizationId, runId, kind, attempts } = effect;
    const named = { effect: effect.id, kind, runId, organizationId, attempts };
    const startedMs = performance.now();
    const ended = (outcome: 'done' | 'retried' | 'failed') => metrics?.effect(kind, outcome, (performance.now() - startedMs) / 1000);
    let lost = false;
    const heartbeat = setInterval(() => {
      // Whoever cannot reach the database keeps working: the effect may be done twice.
      extendLease(system, effect, policy.leaseMs).then(
        (ours) => {
          if (ours) return;
          lost = true;
          cut.abort(new Error('another server has it'));
        },
        () => {},
      );
    }, policy.leaseMs / 3).unref();
    try {
      // A server that died while it worked on it has counted, and cannot say why.
      if (attempts > policy.attempts) throw new Error('it was begun too often');
      const { signal } = cut;
      // Not waited for when it does not listen: whoever has it next may do it again.
      await Promise.race([handlers.get(kind)?.run(database.scope(organizationId, systemActor('outbox')), effect, signal), aborted(signal)]);
      await completeEffect(system, effect);
      ended('done');
      log.info({ ...named, ageMs: Math.round(effect.ageMs) }, 'effect of a push is done');
    } catch (error) {
      if (lost) return;
      await giveBack(effect, error).then(
        (outcome) => {
          if (outcome === 'given back') return;
          ended(outcome);
          const text =
            outcome === 'failed'
              ? 'effect of a push failed for good; see: chainloop outbox ls --state failed'
              : 'effect of a push failed; tried again later';
          if (outcome === 'failed') log.error({ ...named, error }, text);
          else log.warn({ ...named, error }, text);
        },
        (failure: unknown) => log.warn({ ...named, error: failure }, 'effect of a push: its end could not be recorded; it is done again'),
      );
    } finally {
      clearInterval(heartbeat);
    }
  }

  async function giveBack(effect: ClaimedEffect, error: unknown): Promise<'given back' | 'retried' | 'failed'> {
    if (stopping) {
      await releaseEffect(system, effect);
      return 'given back';
    }
    const known = isChainloopError(error);
    const last = effect.attempts >= policy.attempts;
    const pauseMs = Math.min(limits.outboxLongestPauseMs, policy.pauseMs * 2 ** (effect.attempts - 1)) * (0.5 + 0.5 * Math.random());
    await failEffect(system, effect, {
      code: known ? error.code : 'INTERNAL',
      message: known ? error.message : `unexpected error; the server's log says more about effect ${effect.id}`,
      retryInMs: last ? undefined : pauseMs,
    });
    return last ? 'failed' : 'retried';
  }

  const stopListening = database.listen('chainloop_outbox', look);
  deps.after?.then(() => {
    begun = true;
    look();
  });
  look();
  return {
    wake() {
      look();
      if (closing) return;
      // At once, but not for each of many pushes.
      signalling ??= setTimeout(
        () => {
          signalling = undefined;
          signalledMs = performance.now();
          // Who does not hear it looks by itself, later.
          database.signal('chainloop_outbox').catch(() => {});
        },
        Math.max(0, signalledMs + limits.outboxSignalMs - performance.now()),
      ).unref();
    },
    async close() {
      closing = true;
      clearTimeout(timer);
      clearTimeout(signalling);
      await Promise.all([looking, stopListening()]);
      const drained = setTimeout(() => {
        stopping = true;
        for (const cut of underWay.values()) cut.abort(new Error('the server stops'));
      }, policy.drainMs);
      await Promise.all(underWay.keys());
      clearTimeout(drained);
      clearTimeout(timer);
    },
  };
}

/** Rejects when the signal says so. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
}
