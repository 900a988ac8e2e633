import { sql } from 'drizzle-orm';
import { check, foreignKey, index, integer, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { createdAt, id, instant, organization } from './columns.ts';
import { systemPolicy, tenantPolicy } from './policies.ts';
import { casBackends, runs } from './schema.ts';

/**
 * What is still to be done because of a push: written by the statement that makes the run a success, gone when it is done. So there is
 * a row if and only if the push happened, and none is forgotten at a restart.
 */
export const outbox = pgTable(
  'outbox',
  {
    id: id(),
    organizationId: organization(),
    runId: uuid().notNull(),
    /** Which handler does it (server/effects.ts). */
    kind: text().notNull(),
    /** Of one run, an effect waits for those of lower steps, unless they have failed for good. */
    step: integer().notNull(),
    /** Where it is done, if that matters. */
    casBackendId: uuid(),
    /** `failed`: tried too often; it waits for an operator. */
    state: text().$type<'pending' | 'failed'>().notNull().default('pending'),
    /** How often it was begun. */
    attempts: integer().notNull().default(0),
    /** Not before then. While somebody works on it: the end of the lease. */
    dueAt: createdAt(),
    /** Who works on it; another one when the lease was over. */
    lease: uuid(),
    /** Why the last try failed: for operators, without secrets. */
    errorCode: text(),
    error: text(),
    createdAt: createdAt(),
    failedAt: instant(),
  },
  (t) => [
    foreignKey({ name: 'outbox_run', columns: [t.organizationId, t.runId], foreignColumns: [runs.organizationId, runs.id] }),
    foreignKey({
      name: 'outbox_cas_backend',
      columns: [t.organizationId, t.casBackendId],
      foreignColumns: [casBackends.organizationId, casBackends.id],
    }).onDelete('cascade'),
    unique('outbox_once').on(t.runId, t.kind, t.casBackendId).nullsNotDistinct(),
    index('outbox_due').on(t.dueAt).where(sql`state = 'pending'`),
    index('outbox_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    index('outbox_by_cas_backend').on(t.casBackendId),
    check('outbox_kind', sql`${t.kind} ~ '^[a-z][-a-z]{0,62}$'`),
    check('outbox_state', sql`${t.state} in ('pending', 'failed') and (${t.state} = 'failed') = (${t.failedAt} is not null)`),
    check('outbox_error', sql`length(${t.error}) <= 1000`),
    tenantPolicy(),
    systemPolicy(),
  ],
);
