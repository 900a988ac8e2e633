import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  bigint,
  boolean,
  check,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import type { JobClaims } from '../core/claims.ts';
import type { Contract } from '../core/contract.ts';
import type { CraftingStart } from '../core/crafting.ts';
import type { RunnerType, RunState } from '../core/names.ts';
import type { TokenRole } from '../core/roles.ts';
import { bytea, createdAt, digest, id, instant, organization, timedId } from './columns.ts';
import { named, systemPolicy, tenantPolicy } from './policies.ts';

/**
 * The tables. Names, states and ownership are checked here, beneath the code: a row cannot point into another organization (foreign
 * keys carry org_id), a run cannot go backwards, a contract revision cannot change. What drizzle cannot say (FORCE ROW LEVEL
 * SECURITY, triggers, grants) is in migrations/0001_guards.sql. Federation has its own file, trust-schema.ts. docs/database.md is the one-page account.
 */

export const organizations = pgTable(
  'organizations',
  {
    id: id(),
    name: text().notNull(),
    createdAt: createdAt(),
    /** Evidence that no attestation speaks of is kept for so long after it was last asked for. More than a run may be open. */
    unpushedDays: integer().notNull().default(7),
    /** Attestations, and the evidence that only they speak of, are kept for so long. Absent: for ever. */
    attestationDays: integer(),
    /** When a server last began to look for what may be removed. */
    collectedAt: instant(),
  },
  (t) => [
    unique('organizations_name_key').on(t.name),
    index('organizations_newest').on(t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    named('organizations', t.name),
    check('organizations_retention', sql`${t.unpushedDays} between 2 and 36500 and ${t.attestationDays} between 1 and 36500`),
    tenantPolicy('id'),
    systemPolicy(),
  ],
);

const ofOrganization = (table: string, column: AnyPgColumn) =>
  foreignKey({ name: `${table}_organization`, columns: [column], foreignColumns: [organizations.id] });

export const contracts = pgTable(
  'contracts',
  {
    id: id(),
    organizationId: organization(),
    name: text().notNull(),
    latestRevision: integer().notNull().default(1),
    createdAt: createdAt(),
    updatedAt: createdAt(),
    /** Removed: hidden, but its revisions stay, since runs were judged by them. */
    deletedAt: instant(),
  },
  (t) => [
    ofOrganization('contracts', t.organizationId),
    unique('contracts_owner').on(t.organizationId, t.id),
    uniqueIndex('contracts_name_key').on(t.organizationId, t.name).where(sql`deleted_at is null`),
    index('contracts_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    named('contracts', t.name),
    tenantPolicy(),
  ],
);

/** Immutable: a trigger refuses UPDATE and DELETE. */
export const contractRevisions = pgTable(
  'contract_revisions',
  {
    id: id(),
    organizationId: organization(),
    contractId: uuid().notNull(),
    /** Counts from 1. */
    revision: integer().notNull(),
    format: text().$type<'yaml' | 'json' | 'cue'>().notNull(),
    /** The file as it was given. */
    body: text().notNull(),
    /** What it says, normalised. */
    content: jsonb().$type<Contract>().notNull(),
    /** Of the content: two files that say the same have the same. */
    contentDigest: digest().notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    foreignKey({
      name: 'contract_revisions_contract',
      columns: [t.organizationId, t.contractId],
      foreignColumns: [contracts.organizationId, contracts.id],
    }),
    unique('contract_revisions_owner').on(t.organizationId, t.id),
    unique('contract_revisions_number').on(t.contractId, t.revision),
    index('contract_revisions_by_content').on(t.organizationId, t.contentDigest),
    check('contract_revisions_from_1', sql`${t.revision} >= 1`),
    check('contract_revisions_format', sql`${t.format} in ('yaml', 'json', 'cue')`),
    check('contract_revisions_digest', sql`octet_length(${t.contentDigest}) = 32`),
    tenantPolicy(),
  ],
);

export const projects = pgTable(
  'projects',
  { id: id(), organizationId: organization(), name: text().notNull(), createdAt: createdAt() },
  (t) => [
    ofOrganization('projects', t.organizationId),
    unique('projects_owner').on(t.organizationId, t.id),
    unique('projects_name_key').on(t.organizationId, t.name),
    index('projects_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    named('projects', t.name),
    tenantPolicy(),
    systemPolicy(),
  ],
);

export const workflows = pgTable(
  'workflows',
  {
    id: id(),
    organizationId: organization(),
    projectId: uuid().notNull(),
    contractId: uuid().notNull(),
    name: text().notNull(),
    team: text().notNull().default(''),
    createdAt: createdAt(),
    /** Removed: hidden, but its runs stay. */
    deletedAt: instant(),
    /** Counters, moved by the statement that moves the run, so that nothing ever counts rows. */
    runsCount: integer().notNull().default(0),
    runsInitialized: integer().notNull().default(0),
    runsSuccess: integer().notNull().default(0),
    runsFailed: integer().notNull().default(0),
    runsCancelled: integer().notNull().default(0),
    runsExpired: integer().notNull().default(0),
    /** The run that was opened last. No foreign key: it would point in a circle. */
    lastRunId: uuid(),
    lastRunState: text().$type<RunState>(),
    lastRunAt: instant(),
    /** Legal hold: nothing of its runs is removed. */
    heldAt: instant(),
    holdReason: text(),
  },
  (t) => [
    foreignKey({
      name: 'workflows_project',
      columns: [t.organizationId, t.projectId],
      foreignColumns: [projects.organizationId, projects.id],
    }),
    foreignKey({
      name: 'workflows_contract',
      columns: [t.organizationId, t.contractId],
      foreignColumns: [contracts.organizationId, contracts.id],
    }),
    unique('workflows_owner').on(t.organizationId, t.id),
    uniqueIndex('workflows_name_key').on(t.projectId, t.name).where(sql`deleted_at is null`),
    index('workflows_shown').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()).where(sql`deleted_at is null`),
    index('workflows_shown_of_project')
      .on(t.projectId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst())
      .where(sql`deleted_at is null`),
    index('workflows_of_project').on(t.projectId, t.name),
    index('workflows_by_contract').on(t.contractId),
    named('workflows', t.name),
    check('workflows_team', sql`length(${t.team}) <= 256`),
    check('workflows_hold', sql`(${t.heldAt} is null) = (${t.holdReason} is null)`),
    check(
      'workflows_counters',
      sql`least(${t.runsInitialized}, ${t.runsSuccess}, ${t.runsFailed}, ${t.runsCancelled}, ${t.runsExpired}) >= 0
      and ${t.runsCount} = ${t.runsInitialized} + ${t.runsSuccess} + ${t.runsFailed} + ${t.runsCancelled} + ${t.runsExpired}`,
    ),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** Runs by runner, counted when a run is opened. An unrecognised runner is the empty text. */
export const runnerCounts = pgTable(
  'runner_counts',
  {
    organizationId: organization(),
    workflowId: uuid().notNull(),
    runnerType: text().$type<RunnerType | ''>().notNull(),
    runs: integer().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.workflowId, t.runnerType] }),
    foreignKey({
      name: 'runner_counts_workflow',
      columns: [t.organizationId, t.workflowId],
      foreignColumns: [workflows.organizationId, workflows.id],
    }),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/**
 * The CI system of a run: the empty text where none was recognised, as in `runner_counts`. Not COALESCE: PostgreSQL does not take that for
 * leakproof, and so looks for it in no index where there is row-level security.
 */
export const runnerKind = (t: { readonly runnerType: AnyPgColumn }) =>
  sql<RunnerType | ''>`case when ${t.runnerType} is null then '' else ${t.runnerType} end`;

/** States only move from `initialized` to one of the others, once: a trigger refuses every other change of a run. */
export const runs = pgTable(
  'runs',
  {
    id: timedId(),
    organizationId: organization(),
    workflowId: uuid().notNull(),
    /** The revision that this run is judged by; pinned when it is opened. */
    contractRevisionId: uuid().notNull(),
    state: text().$type<RunState>().notNull().default('initialized'),
    /** The same key opens the same run, within a workflow. */
    idempotencyKey: text().notNull(),
    runnerType: text().$type<RunnerType>(),
    runnerUrl: text(),
    runnerEnvironment: text(),
    runnerWorkflowFilePath: text(),
    runnerAuthenticated: boolean().notNull().default(false),
    /** Federated jobs: what the CI system proved when the run was opened. */
    claims: jsonb().$type<JobClaims>(),
    /** Whom a certificate of this run must name: a federated job, or a service account. */
    identitySan: text(),
    identityIssuer: text(),
    /** Federated jobs: the same for all jobs of one CI run. */
    naturalKey: text(),
    /** Federated jobs: the latest attempt of the CI run that has come here. */
    ciAttempt: integer(),
    /** Federated jobs: what `init` fixed (variables, commit, annotations). The first job that says so decides. */
    start: jsonb().$type<CraftingStart>(),
    /** In hex: the commit that the CI system proved, else the one that the attestation is about. */
    headCommit: text(),
    createdAt: createdAt(),
    expiresAt: instant().notNull(),
    finishedAt: instant(),
    /** Why it failed or was cancelled. */
    reason: text(),
    /** Of the bundle as stored. The bundle itself is in storage. */
    bundleDigest: digest(),
    bundleSizeBytes: integer(),
    /** Of the payload that was signed. */
    statementDigest: digest(),
    predicateType: text(),
    /** The name of the trusted key that signed it. */
    signer: text(),
    /** Legal hold: nothing of it is removed. */
    heldAt: instant(),
    holdReason: text(),
    /** Retention gave up its attestation then; the row and its digests stay. */
    removedAt: instant(),
  },
  (t) => [
    foreignKey({
      name: 'runs_workflow',
      columns: [t.organizationId, t.workflowId],
      foreignColumns: [workflows.organizationId, workflows.id],
    }),
    foreignKey({
      name: 'runs_contract_revision',
      columns: [t.organizationId, t.contractRevisionId],
      foreignColumns: [contractRevisions.organizationId, contractRevisions.id],
    }),
    unique('runs_owner').on(t.organizationId, t.id),
    unique('runs_idempotency_key').on(t.workflowId, t.idempotencyKey),
    index('runs_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    index('runs_newest_of_workflow').on(t.workflowId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    // A state or a runner that is rare, or was last seen long ago, is found without reading the others (db/run-list.ts).
    index('runs_newest_of_kind').on(
      ...[t.organizationId, t.state, runnerKind(t), t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()],
    ),
    index('runs_newest_of_workflow_kind').on(
      ...[t.workflowId, t.state, runnerKind(t), t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()],
    ),
    index('runs_newest_of_revision').on(
      ...[t.contractRevisionId, t.workflowId, t.state, runnerKind(t), t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()],
    ),
    index('runs_newest_of_commit')
      .on(t.organizationId, t.headCommit, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst())
      .where(sql`head_commit is not null`),
    index('runs_by_bundle').on(t.organizationId, t.bundleDigest).where(sql`bundle_digest is not null`),
    uniqueIndex('runs_one_open').on(t.workflowId, t.naturalKey).where(sql`state = 'initialized' and natural_key is not null`),
    index('runs_by_natural_key').on(t.workflowId, t.naturalKey, t.ciAttempt).where(sql`natural_key is not null`),
    index('runs_open').on(t.expiresAt).where(sql`state = 'initialized'`),
    index('runs_held').on(t.organizationId).where(sql`held_at is not null`),
    check('runs_state', sql`${t.state} in ('initialized', 'success', 'failed', 'cancelled', 'expired')`),
    check('runs_finished', sql`(${t.state} = 'initialized') = (${t.finishedAt} is null)`),
    check(
      'runs_attested',
      sql`(${t.state} = 'success') = (num_nonnulls(${t.bundleDigest}, ${t.bundleSizeBytes}, ${t.statementDigest}, ${t.predicateType}, ${t.signer}) = 5)
      and (${t.state} = 'success' or num_nonnulls(${t.bundleDigest}, ${t.bundleSizeBytes}, ${t.statementDigest}, ${t.predicateType}, ${t.signer}) = 0)`,
    ),
    check('runs_digests', sql`octet_length(${t.bundleDigest}) = 32 and octet_length(${t.statementDigest}) = 32`),
    check('runs_runner', sql`${t.runnerType} ~ '^[A-Z][A-Z_]{0,62}$'`),
    check('runs_identity', sql`(${t.identitySan} is null) = (${t.identityIssuer} is null)`),
    check(
      'runs_federated',
      sql`num_nonnulls(${t.claims}, ${t.naturalKey}, ${t.ciAttempt}) in (0, 3) and (${t.naturalKey} is null or ${t.runnerAuthenticated})`,
    ),
    check('runs_key', sql`length(${t.idempotencyKey}) between 16 and 128`),
    check('runs_hold', sql`(${t.heldAt} is null) = (${t.holdReason} is null)`),
    check('runs_removed', sql`${t.removedAt} is null or ${t.state} = 'success'`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** What a successful run brought, from its signed statement. Written by the statement that makes the run a success, never changed. */
export const runMaterials = pgTable(
  'run_materials',
  {
    organizationId: organization(),
    runId: uuid().notNull(),
    name: text().notNull(),
    type: text().notNull(),
    digest: digest(),
    /** STRING: the text itself. */
    value: text(),
    fileName: text(),
    sizeBytes: bigint({ mode: 'number' }),
    /** The bytes are in the organization's storage. */
    uploaded: boolean().notNull(),
    tag: text(),
    annotations: jsonb().$type<Readonly<Record<string, string>>>().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.runId, t.name] }),
    foreignKey({ name: 'run_materials_run', columns: [t.organizationId, t.runId], foreignColumns: [runs.organizationId, runs.id] }),
    // With the run, so that the newest of many that brought the same bytes are found without the others.
    index('run_materials_uses').on(t.organizationId, t.digest, t.runId.desc().nullsFirst()),
    named('run_materials', t.name),
    check(
      'run_materials_content',
      sql`(${t.type} = 'STRING') = (${t.value} is not null) and (${t.value} is not null or ${t.digest} is not null)`,
    ),
    check('run_materials_digest', sql`octet_length(${t.digest}) = 32`),
    check('run_materials_size', sql`${t.sizeBytes} >= 0`),
    tenantPolicy(),
  ],
);

/** Where an organization's bytes go. One is the default, and one may be its fallback. */
export const casBackends = pgTable(
  'cas_backends',
  {
    id: id(),
    organizationId: organization(),
    name: text().notNull(),
    provider: text().$type<'layout' | 'oci' | 's3'>().notNull(),
    /** A folder (layout), `host[:port]/repository` (oci), or `https://host[:port]/bucket[/prefix]` (s3). */
    location: text().notNull(),
    /** s3: what its signatures are for. */
    region: text(),
    /** s3: the bucket is a part of the host's name. */
    virtualHost: boolean().notNull().default(false),
    /** Plain http. */
    insecure: boolean().notNull().default(false),
    /** Ciphertext: the server holds the key, the database never sees it. */
    credentials: bytea(),
    isDefault: boolean().notNull().default(false),
    /** New evidence goes there while the default one is invalid. */
    isFallback: boolean().notNull().default(false),
    /** What a run brings is copied there after its push. */
    isMirror: boolean().notNull().default(false),
    status: text().$type<'ok' | 'invalid'>().notNull(),
    /** Why it is invalid. */
    problem: text(),
    createdAt: createdAt(),
    validatedAt: instant(),
    /** Some server checks it then. */
    checkDueAt: instant().notNull().defaultNow(),
  },
  (t) => [
    ofOrganization('cas_backends', t.organizationId),
    unique('cas_backends_owner').on(t.organizationId, t.id),
    unique('cas_backends_name_key').on(t.organizationId, t.name),
    uniqueIndex('cas_backends_one_default').on(t.organizationId).where(sql`is_default`),
    uniqueIndex('cas_backends_one_fallback').on(t.organizationId).where(sql`is_fallback`),
    index('cas_backends_due').on(t.checkDueAt),
    named('cas_backends', t.name),
    check('cas_backends_provider', sql`${t.provider} in ('layout', 'oci', 's3')`),
    check('cas_backends_region', sql`(${t.provider} = 's3') = (${t.region} is not null)`),
    check('cas_backends_fallback', sql`not (${t.isDefault} and ${t.isFallback})`),
    check('cas_backends_mirror', sql`not (${t.isDefault} and ${t.isMirror})`),
    check('cas_backends_status', sql`${t.status} in ('ok', 'invalid')`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** What the gateway has seen arrive, whole and with that digest. The referee believes this, not the client. */
export const evidence = pgTable(
  'evidence',
  {
    organizationId: organization(),
    digest: digest().notNull(),
    casBackendId: uuid().notNull(),
    sizeBytes: bigint({ mode: 'number' }).notNull(),
    mediaType: text().notNull(),
    fileName: text(),
    /** Of the manifest that keeps the blob. Absent until that has arrived. */
    manifestDigest: digest(),
    uploadedAt: createdAt(),
    /** When somebody who uploads last sent it, or was told that it is there. */
    touchedAt: createdAt(),
    /** An operator stored it: it may be more than evidence of a run, and stays. */
    pinned: boolean().notNull().default(true),
    /** Not to be relied on since: it is being removed, was removed, or arrived again and was not looked at yet (db/retention.ts). */
    removedAt: instant(),
    /** Some server removes it since then. */
    deletingAt: instant(),
  },
  (t) => [
    primaryKey({ columns: [t.organizationId, t.digest] }),
    foreignKey({
      name: 'evidence_cas_backend',
      columns: [t.organizationId, t.casBackendId],
      foreignColumns: [casBackends.organizationId, casBackends.id],
    }),
    index('evidence_by_cas_backend').on(t.casBackendId),
    // Of what is large: limits.singleRequestUploadSizeBytes, as a number, since it is in the database.
    index('evidence_by_size').on(t.organizationId, t.sizeBytes).where(sql`size_bytes > 8388608`),
    check('evidence_digests', sql`octet_length(${t.digest}) = 32 and octet_length(${t.manifestDigest}) = 32`),
    check('evidence_size', sql`${t.sizeBytes} >= 0`),
    check('evidence_deleting', sql`${t.deletingAt} is null or ${t.removedAt} is not null`),
    tenantPolicy(),
  ],
);

/** Only the SHA-256 of a token is here. */
export const tokens = pgTable(
  'tokens',
  {
    id: id(),
    /** Absent for the owner token, which is of the instance. */
    organizationId: uuid('org_id'),
    kind: text().$type<'owner' | 'api' | 'service-account'>().notNull(),
    name: text().notNull(),
    hash: digest().notNull(),
    /** API tokens. Absent: from before there were roles, and then `admin`, which is what such a token was. */
    role: text().$type<TokenRole>(),
    /** Service accounts: the one workflow that they may attest. */
    workflowId: uuid(),
    createdAt: createdAt(),
    /** Absent: never. */
    expiresAt: instant(),
    revokedAt: instant(),
    lastUsedAt: instant(),
  },
  (t) => [
    ofOrganization('tokens', t.organizationId),
    foreignKey({
      name: 'tokens_workflow',
      columns: [t.organizationId, t.workflowId],
      foreignColumns: [workflows.organizationId, workflows.id],
    }),
    unique('tokens_hash_key').on(t.hash),
    uniqueIndex('tokens_api_name_key').on(t.organizationId, t.name).where(sql`kind = 'api' and revoked_at is null`),
    // With org_id, so that the workflow of another organization is a broken foreign key, and not a name that is taken there.
    uniqueIndex('tokens_service_account_name_key')
      .on(t.organizationId, t.workflowId, t.name)
      .where(sql`kind = 'service-account' and revoked_at is null`),
    index('tokens_newest_of_kind').on(t.organizationId, t.kind, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    named('tokens', t.name),
    check('tokens_role', sql`${t.role} is null or ${t.kind} = 'api' and ${t.role} in ('owner', 'admin', 'viewer', 'attest')`),
    check('tokens_hash', sql`octet_length(${t.hash}) = 32`),
    check(
      'tokens_bound',
      sql`case ${t.kind} when 'owner' then num_nonnulls(${t.organizationId}, ${t.workflowId}) = 0
      when 'api' then ${t.organizationId} is not null and ${t.workflowId} is null
      when 'service-account' then num_nonnulls(${t.organizationId}, ${t.workflowId}) = 2 else false end`,
    ),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** The signers that an organization trusts. */
export const publicKeys = pgTable(
  'public_keys',
  {
    id: id(),
    organizationId: organization(),
    name: text().notNull(),
    /** base64 of the SHA-256 of the SPKI DER: how a bundle names the key. */
    hint: text().notNull(),
    type: text().notNull(),
    pem: text().notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    ofOrganization('public_keys', t.organizationId),
    unique('public_keys_name_key').on(t.organizationId, t.name),
    unique('public_keys_hint_key').on(t.organizationId, t.hint),
    named('public_keys', t.name),
    tenantPolicy(),
  ],
);

/** Facts of the instance that are made once, such as its id. Only the system role reads them. */
export const settings = pgTable('settings', { key: text().primaryKey(), value: text().notNull(), createdAt: createdAt() }, () => [
  systemPolicy(),
]);
