import { sql } from 'drizzle-orm';
import { bigint, boolean, check, foreignKey, index, jsonb, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { JobClaims } from '../core/claims.ts';
import type { MaterialType } from '../core/names.ts';
import { createdAt, digest, id, instant, organization } from './columns.ts';
import { named, systemPolicy, tenantPolicy } from './policies.ts';
import { organizations, runs, workflows } from './schema.ts';

/**
 * The tables of federation and of runs with several jobs. What drizzle cannot say is in migrations/0003_trust_guards.sql.
 */

/** Which jobs of a CI system may attest a workflow, without a secret. Fixed but for the ids of a pending one, which its first match sets. */
export const bindings = pgTable(
  'bindings',
  {
    id: id(),
    organizationId: organization(),
    workflowId: uuid().notNull(),
    issuer: text().notNull(),
    /** For people, and to find a pending binding by. */
    repository: text().notNull(),
    /** Absent while pending. */
    repositoryId: text(),
    ownerId: text(),
    refs: jsonb().$type<readonly string[]>().notNull(),
    environment: text(),
    events: jsonb().$type<readonly string[]>().notNull(),
    workflowRef: text(),
    jobWorkflowRef: text(),
    runnerEnvironment: text(),
    createdAt: createdAt(),
    /** Made by name only: until when the first matching token may fix the ids. */
    pendingUntil: instant(),
    fixedAt: instant(),
    lastUsedAt: instant(),
    /** Removed: matches nothing, and the credentials that it gave no longer work. */
    removedAt: instant(),
  },
  (t) => [
    foreignKey({
      name: 'bindings_workflow',
      columns: [t.organizationId, t.workflowId],
      foreignColumns: [workflows.organizationId, workflows.id],
    }),
    unique('bindings_owner').on(t.organizationId, t.id),
    index('bindings_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    index('bindings_by_owner').on(t.issuer, t.ownerId).where(sql`removed_at is null`),
    index('bindings_by_name').on(t.issuer, sql`lower(repository)`).where(sql`removed_at is null and repository_id is null`),
    check('bindings_ids', sql`num_nonnulls(${t.repositoryId}, ${t.ownerId}) <> 1`),
    check('bindings_pending', sql`${t.repositoryId} is not null or ${t.pendingUntil} is not null`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** What a job got for its CI token: good for minutes, for one run. Only the SHA-256 is here. */
export const runCredentials = pgTable(
  'run_credentials',
  {
    id: id(),
    organizationId: organization(),
    bindingId: uuid().notNull(),
    hash: digest().notNull(),
    /** What the token proved. */
    claims: jsonb().$type<JobClaims>().notNull(),
    /** The run that it is for: all jobs of one CI run have the same (runs.natural_key). */
    naturalKey: text().notNull(),
    createdAt: createdAt(),
    expiresAt: instant().notNull(),
  },
  (t) => [
    foreignKey({
      name: 'run_credentials_binding',
      columns: [t.organizationId, t.bindingId],
      foreignColumns: [bindings.organizationId, bindings.id],
    }),
    unique('run_credentials_hash_key').on(t.hash),
    index('run_credentials_by_expiry').on(t.expiresAt),
    check('run_credentials_hash', sql`octet_length(${t.hash}) = 32`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** CI tokens that were exchanged, until they expire: each is good once. The digest is of issuer and `jti`. */
export const usedTokens = pgTable('used_tokens', { digest: digest().primaryKey(), expiresAt: instant().notNull() }, (t) => [
  index('used_tokens_by_expiry').on(t.expiresAt),
  check('used_tokens_digest', sql`octet_length(${t.digest}) = 32`),
  systemPolicy(),
]);

/** Signers without a key of their own that an organization trusts: whom a certificate names. */
export const trustedIdentities = pgTable(
  'trusted_identities',
  {
    id: id(),
    organizationId: organization(),
    name: text().notNull(),
    issuer: text().notNull(),
    san: text().notNull(),
    /** `exact`: the SAN itself. `prefix`: every SAN that begins so. */
    match: text().$type<'exact' | 'prefix'>().notNull(),
    /** A Sigstore trusted root, JSON. Absent: the control plane's own. */
    trustedRoot: text(),
    createdAt: createdAt(),
  },
  (t) => [
    foreignKey({ name: 'trusted_identities_organization', columns: [t.organizationId], foreignColumns: [organizations.id] }),
    unique('trusted_identities_name_key').on(t.organizationId, t.name),
    index('trusted_identities_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    named('trusted_identities', t.name),
    check('trusted_identities_match', sql`${t.match} in ('exact', 'prefix') and length(${t.san}) > 0`),
    tenantPolicy(),
  ],
);

/** What the jobs of an open run have brought so far, one row for each material: two jobs at once lose nothing. Never changed. */
export const runCollected = pgTable(
  'run_collected',
  {
    organizationId: organization(),
    runId: uuid().notNull(),
    name: text().notNull(),
    type: text().$type<MaterialType>().notNull(),
    digest: digest(),
    /** STRING: the text itself. */
    value: text(),
    fileName: text(),
    sizeBytes: bigint({ mode: 'number' }),
    uploaded: boolean().notNull(),
    tag: text(),
    annotations: jsonb().$type<Readonly<Record<string, string>>>().notNull(),
    /** Which job brought it, for people. */
    job: text().notNull(),
    /** Of the job that brought it, as its CI system proved it (JobClaims). Absent: it did not, or it was not recorded. */
    jobWorkflowRef: text(),
    addedAt: createdAt(),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.name] }),
    // In the direction of lists, as of `run_materials`: what a run brought that never succeeded is found here alone.
    index('run_collected_uses').on(t.organizationId, t.digest, t.runId.desc().nullsFirst()).where(sql`digest is not null`),
    foreignKey({ name: 'run_collected_run', columns: [t.organizationId, t.runId], foreignColumns: [runs.organizationId, runs.id] }),
    named('run_collected', t.name),
    check(
      'run_collected_content',
      sql`(${t.type} = 'STRING') = (${t.value} is not null) and (${t.value} is not null or ${t.digest} is not null)`,
    ),
    check('run_collected_digest', sql`octet_length(${t.digest}) = 32`),
    check('run_collected_size', sql`${t.sizeBytes} >= 0`),
    tenantPolicy(),
  ],
);
