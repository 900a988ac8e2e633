import { sql } from 'drizzle-orm';
import { bigint, check, index, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import type { AuditActor } from '../core/audit.ts';
import { digest, instant, organization } from './columns.ts';
import { systemPolicy, tenantPolicy } from './policies.ts';

/**
 * The audit log. Rows are written by triggers alone (migrations/0014_audit-guards.sql), at the end of the transaction that they speak of,
 * and never change. Each organization has a chain of its own, and the instance has one: that of the organization with the nil UUID. No
 * foreign key: what was done stays, whatever becomes of whom it was done to. docs/audit.md has the encoding that is hashed.
 */
export const auditLog = pgTable(
  'audit_log',
  {
    organizationId: organization(),
    /** From 1, without gaps. */
    sequence: bigint({ mode: 'number' }).notNull(),
    /** By the clock of the database, when the row was chained. */
    at: instant().notNull(),
    actorKind: text().$type<AuditActor['kind']>().notNull(),
    actorId: text(),
    actorName: text().notNull(),
    /** `<resource>.<verb>` */
    action: text().notNull(),
    resourceKind: text().notNull(),
    resourceName: text().notNull(),
    /** What is new, or `{ from, to }` of what changed. Never a secret. */
    details: jsonb().$type<Readonly<Record<string, unknown>>>().notNull(),
    /** The hash of the row before; zeros before the first. */
    previous: digest().notNull(),
    /** SHA-256 of the row in its canonical encoding, `previous` included. */
    hash: digest().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.organizationId, t.sequence] }),
    index('audit_log_by_time').on(t.organizationId, t.at),
    index('audit_log_by_actor').on(t.organizationId, t.actorName, t.sequence),
    index('audit_log_by_action').on(t.organizationId, t.action, t.sequence),
    index('audit_log_by_resource').on(t.organizationId, t.resourceName, t.sequence),
    check('audit_log_sequence', sql`${t.sequence} >= 1`),
    check('audit_log_digests', sql`octet_length(${t.previous}) = 32 and octet_length(${t.hash}) = 32`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** Where each chain ends. Its row is the lock that puts the changes of an organization into one order, held from the end of a transaction. */
export const auditHeads = pgTable(
  'audit_heads',
  {
    organizationId: uuid('org_id').primaryKey(),
    sequence: bigint({ mode: 'number' }).notNull(),
    at: instant().notNull(),
    previous: digest().notNull(),
    hash: digest().notNull(),
  },
  (t) => [check('audit_heads_hash', sql`octet_length(${t.hash}) = 32`), tenantPolicy(), systemPolicy()],
);
