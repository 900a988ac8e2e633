import type { EffectView } from '../../core/effect.ts';
import { wire } from '../../core/wire.ts';
import { type EffectRow, listEffects, retryEffect, retryFailedEffects } from '../../db/outbox.ts';
import { admin, router, viewer } from '../trpc.ts';

export const outboxes = router({
  /** What is still to be done because of pushes, newest first. */
  list: viewer.input(wire.effectList).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listEffects(scope, input);
    return { items: items.map(effectView), nextCursor };
  }),
  /** Tries one again now, or all that failed. */
  retry: admin.input(wire.effectRetry).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const { id } = input;
    const retried = id === undefined ? await retryFailedEffects(scope) : await retryEffect(scope, id).then(() => 1);
    services.log.info({ organizationId: scope.organizationId, by: caller.type, effect: id, retried }, 'effects of pushes are tried again');
    services.outbox.wake();
    return { retried };
  }),
});

export function effectView({ id, runId, kind, casBackend, state, attempts, createdAt, dueAt, errorCode, error }: EffectRow): EffectView {
  const nextAttemptAt = state === 'failed' ? null : dueAt.toISOString();
  return { id, runId, kind, casBackend, state, attempts, createdAt: createdAt.toISOString(), nextAttemptAt, errorCode, error };
}
