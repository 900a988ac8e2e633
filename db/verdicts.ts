import { and, eq, sql } from 'drizzle-orm';
import { type Digest, hexOf } from '../core/digest.ts';
import type { OrgScope } from './client.ts';
import { runCollected } from './trust-schema.ts';
import { verdicts } from './verdict-schema.ts';

/** What was signed about a run. */
export type VerdictRow = Omit<typeof verdicts.$inferSelect, 'organizationId' | 'issuedAt'>;

/** What was signed about a run, or undefined: nothing yet. */
export async function findVerdict(scope: OrgScope, runId: string): Promise<VerdictRow | undefined> {
  const [row] = await scope.read((tx) =>
    tx
      .select()
      .from(verdicts)
      .where(and(eq(verdicts.organizationId, scope.organizationId), eq(verdicts.runId, runId))),
  );
  return row;
}

/**
 * Records what was signed about a run that is a success and has its attestation; of several that sign at once the first one counts, and all
 * get to know what does. `replaces` is what storage has lost. Undefined: the run is no such one, or retention was faster.
 */
export async function recordVerdict(scope: OrgScope, verdict: VerdictRow, replaces: Digest | undefined): Promise<VerdictRow | undefined> {
  const { runId, level, reasons, vsaDigest, vsaSizeBytes, provenanceDigest, provenanceSizeBytes } = verdict;
  const provenance = provenanceDigest === null ? null : hexOf(provenanceDigest);
  await scope.statement(
    'record_verdict',
    sql`insert into verdicts as there (org_id, run_id, level, reasons, vsa_digest, vsa_size_bytes, provenance_digest, provenance_size_bytes)
      select org_id, id, ${level}::smallint, ${JSON.stringify(reasons)}::jsonb, decode(${hexOf(vsaDigest)}, 'hex'), ${vsaSizeBytes}::int,
        decode(${provenance}::text, 'hex'), ${provenanceSizeBytes}::int
      from runs where org_id = ${scope.organizationId}::uuid and id = ${runId}::uuid and state = 'success' and removed_at is null
      on conflict (run_id) do update set level = excluded.level, reasons = excluded.reasons, vsa_digest = excluded.vsa_digest,
        vsa_size_bytes = excluded.vsa_size_bytes, provenance_digest = excluded.provenance_digest,
        provenance_size_bytes = excluded.provenance_size_bytes, issued_at = now()
      where there.vsa_digest = decode(${replaces === undefined ? null : hexOf(replaces)}::text, 'hex')`,
  );
  return findVerdict(scope, runId);
}

/** In which workflows the jobs ran that brought evidence of a run before its push; null where that is not known. */
export async function workflowsThatBrought(scope: OrgScope, runId: string): Promise<(string | null)[]> {
  const rows = await scope.read((tx) =>
    tx
      .selectDistinct({ ref: runCollected.jobWorkflowRef })
      .from(runCollected)
      .where(and(eq(runCollected.organizationId, scope.organizationId), eq(runCollected.runId, runId))),
  );
  return rows.map(({ ref }) => ref);
}
