import { sql } from 'drizzle-orm';
import { check, foreignKey, index, integer, jsonb, pgTable, smallint, uuid } from 'drizzle-orm/pg-core';
import { createdAt, digest, organization } from './columns.ts';
import { tenantPolicy } from './policies.ts';
import { runs } from './schema.ts';

/**
 * What the control plane signed about a run that is a success; a trigger refuses any other. The bundles lie beside the attestation, and go
 * with it.
 */
export const verdicts = pgTable(
  'verdicts',
  {
    organizationId: organization(),
    runId: uuid().primaryKey(),
    /** Of SLSA's build track, and why it is not the next one, as they were signed. */
    level: smallint().$type<1 | 2 | 3>().notNull(),
    reasons: jsonb().$type<readonly string[]>().notNull(),
    vsaDigest: digest().notNull(),
    vsaSizeBytes: integer().notNull(),
    provenanceDigest: digest(),
    provenanceSizeBytes: integer(),
    issuedAt: createdAt(),
  },
  (t) => [
    foreignKey({ name: 'verdicts_run', columns: [t.organizationId, t.runId], foreignColumns: [runs.organizationId, runs.id] }),
    index('verdicts_by_vsa').on(t.organizationId, t.vsaDigest),
    index('verdicts_by_provenance').on(t.organizationId, t.provenanceDigest).where(sql`provenance_digest is not null`),
    check('verdicts_level', sql`${t.level} between 1 and 3`),
    check('verdicts_digests', sql`octet_length(${t.vsaDigest}) = 32 and octet_length(${t.provenanceDigest}) = 32`),
    check('verdicts_sizes', sql`${t.vsaSizeBytes} > 0 and (${t.provenanceDigest} is null) = (${t.provenanceSizeBytes} is null)`),
    tenantPolicy(),
  ],
);
