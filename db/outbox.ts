import { and, asc, desc, eq, sql } from 'drizzle-orm';
import type { ErrorCode } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, SystemScope } from './client.ts';
import { outbox } from './outbox-schema.ts';
import { after, type Page, paged, position } from './page.ts';
import { casBackends } from './schema.ts';
import { found } from './violation.ts';

/** The outbox: what is to be done because of a push (db/run-states.ts writes it). Leases count by the clock of the database. */

/** An effect that the caller has to do now. It has it for the time of the lease. */
export type ClaimedEffect = {
  readonly id: string;
  readonly organizationId: string;
  readonly runId: string;
  readonly kind: string;
  readonly casBackendId: string | null;
  /** This one included. */
  readonly attempts: number;
  readonly lease: string;
  /** Since the push. */
  readonly ageMs: number;
};

/**
 * Takes effects that are due, at most `limit`, of kinds that this server knows. Several servers may ask at once: each gets others. Of one
 * run, those of a higher step wait until those below are done or have failed for good.
 */
export function claimEffects(
  system: SystemScope,
  { kinds, limit, leaseMs }: { readonly kinds: readonly string[]; readonly limit: number; readonly leaseMs: number },
): Promise<ClaimedEffect[]> {
  return system.statement<ClaimedEffect>(
    'claim_effects',
    sql`
      with due as (
        select o.id from outbox o
        where ${ready(kinds)} and o.due_at <= now()
        order by o.due_at limit ${limit}::int for update skip locked
      )
      update outbox set attempts = attempts + 1, lease = gen_random_uuid(), due_at = now() + ${leaseMs}::int * interval '1 millisecond'
      from due where outbox.id = due.id
      returning outbox.id::text, outbox.org_id::text as "organizationId", outbox.run_id::text as "runId", outbox.kind,
        outbox.cas_backend_id::text as "casBackendId", outbox.attempts, outbox.lease::text,
        (extract(epoch from now() - outbox.created_at) * 1000)::float8 as "ageMs"`,
  );
}

/** Keeps an effect for longer. False: somebody else has it, or it is gone. */
export async function extendLease(system: SystemScope, { id, lease }: ClaimedEffect, leaseMs: number): Promise<boolean> {
  const rows = await system.statement(
    'extend_lease',
    sql`update outbox set due_at = now() + ${leaseMs}::int * interval '1 millisecond'
    where id = ${id}::uuid and lease = ${lease}::uuid and state = 'pending' returning 1 as one`,
  );
  return rows.length > 0;
}

/** The effect is done, whoever has it by now: it may be done twice, and is the same. */
export async function completeEffect(system: SystemScope, { id }: ClaimedEffect): Promise<void> {
  await system.statement('complete_effect', sql`delete from outbox where id = ${id}::uuid`);
}

/** It was begun, and given back undone: it does not count as a try. */
export async function releaseEffect(system: SystemScope, { id, lease }: ClaimedEffect): Promise<void> {
  await system.statement(
    'release_effect',
    sql`update outbox set lease = null, due_at = now(), attempts = attempts - 1 where id = ${id}::uuid and lease = ${lease}::uuid and state = 'pending'`,
  );
}

/** The try failed: the next one is in `retryInMs`, or none. */
export async function failEffect(
  system: SystemScope,
  { id, lease }: ClaimedEffect,
  failure: { readonly code: ErrorCode; readonly message: string; readonly retryInMs: number | undefined },
): Promise<void> {
  const { code, message, retryInMs } = failure;
  await system.statement(
    'fail_effect',
    sql`update outbox set lease = null, error_code = ${code}, error = left(${message}, 1000),
      due_at = now() + ${retryInMs ?? 0}::float8 * interval '1 millisecond',
      state = ${retryInMs === undefined ? 'failed' : 'pending'}, failed_at = case when ${retryInMs === undefined} then now() end
    where id = ${id}::uuid and lease = ${lease}::uuid and state = 'pending'`,
  );
}

/** In how many ms the next effect of these kinds that waits for no other is due: 0 or less when one is now, undefined when there is none. */
export async function nextEffectInMs(system: SystemScope, kinds: readonly string[]): Promise<number | undefined> {
  const [row] = await system.statement<{ ms: number | null }>(
    'next_effect',
    sql`select (extract(epoch from min(o.due_at) - now()) * 1000)::float8 as ms from outbox o where ${ready(kinds)}`,
  );
  return row?.ms ?? undefined;
}

/** Of a kind that the server knows, and first in its run. */
function ready(kinds: readonly string[]) {
  return sql`o.state = 'pending' and o.kind = any (array(select json_array_elements_text(${JSON.stringify(kinds)}::json)))
    and not exists (select from outbox before where before.run_id = o.run_id and before.state = 'pending' and before.step < o.step)`;
}

export type OutboxCounts = {
  readonly organization: string;
  readonly pending: number;
  readonly failed: number;
  readonly oldestPendingSeconds: number;
};

/** What waits and what failed, per organization that has any. The table holds nothing that is done. */
export function countEffects(system: SystemScope): Promise<OutboxCounts[]> {
  return system.statement<OutboxCounts>(
    'count_effects',
    sql`select g.name as organization, (count(*) filter (where o.state = 'pending'))::int as pending,
      (count(*) filter (where o.state = 'failed'))::int as failed,
      coalesce(extract(epoch from now() - min(o.created_at) filter (where o.state = 'pending')), 0)::float8 as "oldestPendingSeconds"
    from outbox o join organizations g on g.id = o.org_id group by g.name order by g.name`,
  );
}

export type EffectRow = Pick<
  typeof outbox.$inferSelect,
  'id' | 'runId' | 'kind' | 'state' | 'attempts' | 'dueAt' | 'errorCode' | 'error' | 'createdAt'
> & { readonly casBackend: string | null };

const shown = {
  id: outbox.id,
  runId: outbox.runId,
  kind: outbox.kind,
  state: outbox.state,
  attempts: outbox.attempts,
  dueAt: outbox.dueAt,
  errorCode: outbox.errorCode,
  error: outbox.error,
  createdAt: outbox.createdAt,
  casBackend: sql<string | null>`${casBackends.name}`.as('cas_backend'),
};

/** What waits or failed, newest first. Throws USAGE for a malformed cursor. */
export async function listEffects(
  scope: OrgScope,
  page: Page & { readonly state?: EffectRow['state'] | undefined },
): Promise<Paged<EffectRow>> {
  const own = eq(outbox.organizationId, scope.organizationId);
  const rows = await scope.read((tx) =>
    tx
      .select({ row: shown, at: position(outbox) })
      .from(outbox)
      .leftJoin(casBackends, eq(casBackends.id, outbox.casBackendId))
      .where(and(own, page.state === undefined ? undefined : eq(outbox.state, page.state), after(outbox, page.cursor)))
      .orderBy(desc(outbox.createdAt), desc(outbox.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** What is still to be done because of one run, in its order. */
export function effectsOfRun(scope: OrgScope, runId: string): Promise<EffectRow[]> {
  return scope.read((tx) =>
    tx
      .select(shown)
      .from(outbox)
      .leftJoin(casBackends, eq(casBackends.id, outbox.casBackendId))
      .where(and(eq(outbox.organizationId, scope.organizationId), eq(outbox.runId, runId)))
      .orderBy(asc(outbox.step), asc(outbox.id)),
  );
}

/** Tries an effect again, now, with all its tries: one that failed, or one that waits. Throws NOT_FOUND: it is done, or never was. */
export async function retryEffect(scope: OrgScope, id: string): Promise<void> {
  const [row] = await scope.run((tx) =>
    tx
      .update(outbox)
      .set({ state: 'pending', failedAt: null, lease: null, attempts: 0, dueAt: sql`now()` })
      .where(and(eq(outbox.organizationId, scope.organizationId), eq(outbox.id, id)))
      .returning({ id: outbox.id }),
  );
  found(row, `effect ${id}`);
}

/** Tries again all that failed; says how many. */
export async function retryFailedEffects(scope: OrgScope): Promise<number> {
  const rows = await scope.run((tx) =>
    tx
      .update(outbox)
      .set({ state: 'pending', failedAt: null, attempts: 0, dueAt: sql`now()` })
      .where(and(eq(outbox.organizationId, scope.organizationId), eq(outbox.state, 'failed')))
      .returning({ id: outbox.id }),
  );
  return rows.length;
}
