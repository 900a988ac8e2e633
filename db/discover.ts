import { and, eq, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { type Digest, hexOf, parseDigest } from '../core/digest.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { afterId, type Page, pagedAt, rowsWanted } from './page.ts';
import { type ListedRun, type ListedRunRow, namedRuns } from './runs.ts';
import { contractRevisions, contracts, runMaterials, runs } from './schema.ts';
import { runCollected } from './trust-schema.ts';
import { verdicts } from './verdict-schema.ts';

/** What is known by a digest, or by its hex digits, besides bytes. */
export type Identified = {
  /** Git names commits by SHA-256, too: then there are runs of this one. */
  readonly commit: string | undefined;
  /** The revisions of contracts that say this, oldest first; at most ten. */
  readonly contracts: readonly { readonly name: string; readonly revision: number }[];
};

export async function identify(scope: OrgScope, digest: Digest): Promise<Identified> {
  const { organizationId } = scope;
  const [[run], revisions] = await Promise.all([
    scope.read((tx) =>
      tx
        .select({ commit: runs.headCommit })
        .from(runs)
        .where(and(eq(runs.organizationId, organizationId), eq(runs.headCommit, hexOf(digest))))
        .limit(1),
    ),
    scope.read((tx) =>
      tx
        .select({ name: contracts.name, revision: contractRevisions.revision })
        .from(contractRevisions)
        .innerJoin(contracts, eq(contracts.id, contractRevisions.contractId))
        .where(and(eq(contractRevisions.organizationId, organizationId), eq(contractRevisions.contentDigest, digest)))
        .orderBy(contractRevisions.createdAt)
        .limit(10),
    ),
  ]);
  return { commit: run?.commit ?? undefined, contracts: revisions };
}

/**
 * The runs that brought these bytes, whatever became of them, and the one whose attestation, verification summary or provenance they are, newest first, however many they are. Throws USAGE for a
 * malformed cursor.
 */
export async function listTouching(scope: OrgScope, digest: Digest, page: Page): Promise<Paged<ListedRun>> {
  const touching = namedRuns(touchingRuns(scope, digest, page), sql`r.id desc`);
  return pagedAt(await scope.rows<ListedRunRow>(touching, { inOrder: true }), page);
}

function touchingRuns({ organizationId }: OrgScope, digest: Digest, page: Page): SQL {
  const few = rowsWanted(page);
  const own = eq(runs.organizationId, organizationId);
  const brought = and(
    eq(runMaterials.organizationId, organizationId),
    eq(runMaterials.digest, digest),
    afterId(runMaterials.runId, page.cursor),
  );
  const collected = and(
    eq(runCollected.organizationId, organizationId),
    eq(runCollected.digest, digest),
    afterId(runCollected.runId, page.cursor),
  );
  const attested = and(own, eq(runs.bundleDigest, digest), afterId(runs.id, page.cursor));
  const judged = (signed: PgColumn) =>
    sql`(select run_id from ${verdicts} where ${and(eq(verdicts.organizationId, organizationId), eq(signed, digest), afterId(verdicts.runId, page.cursor))} limit 1)`;
  return sql`select ${runs}.* from (
      (select run_id from ${runMaterials} where ${brought} group by run_id order by run_id desc limit ${few})
      union (select run_id from ${runCollected} where ${collected} group by run_id order by run_id desc limit ${few})
      union (select id as run_id from ${runs} where ${attested} order by id desc limit ${few})
      union ${judged(verdicts.vsaDigest)} union ${judged(verdicts.provenanceDigest)}
      order by run_id desc limit ${few}
    ) touching, lateral (select * from ${runs} where ${and(own, sql`${runs.id} = run_id`)} limit 1) ${runs}`;
}

/** What the control plane signed about these runs, where it did. */
export function listVerdictsOf(
  scope: OrgScope,
  runIds: readonly string[],
): Promise<{ readonly runId: string; readonly vsaDigest: Digest; readonly provenanceDigest: Digest | null }[]> {
  const { runId, vsaDigest, provenanceDigest } = verdicts;
  // One parameter, however many runs: the statement stays the same and is prepared once.
  const asked = sql`${runId} = any (array(select wanted.id::uuid from json_array_elements_text(${JSON.stringify(runIds)}::json) wanted (id)))`;
  return scope.read((tx) =>
    tx
      .select({ runId, vsaDigest, provenanceDigest })
      .from(verdicts)
      .where(and(eq(verdicts.organizationId, scope.organizationId), asked)),
  );
}

/** A piece of evidence of a run. */
export type TouchedMaterial = {
  readonly runId: string;
  readonly name: string;
  readonly type: string;
  readonly digest: Digest | null;
  readonly fileName: string | null;
  /** STRING: how the text begins. */
  readonly value: string | null;
  readonly sizeBytes: number | null;
  readonly uploaded: boolean;
  /** A subject of the attestation (core/statement/subjects.ts): of a run without one there are none. */
  readonly output: boolean;
  /** How many pieces that run has. */
  readonly total: number;
};

/** The evidence of these runs, also what jobs brought to a run that is no success, of each at most `most` pieces: first those that are `digest`, then its outputs, then by name. */
export async function listEvidenceOf(
  scope: OrgScope,
  runIds: readonly string[],
  { digest, most, textLength }: { readonly digest: Digest | undefined; readonly most: number; readonly textLength: number },
): Promise<TouchedMaterial[]> {
  if (runIds.length === 0) return [];
  const rows = await scope.statement<Omit<TouchedMaterial, 'digest'> & { hex: string | null }>(
    'evidence_of_runs',
    sql`select run.id as "runId", one.name, one.type, encode(one.digest, 'hex') as hex, one.file_name as "fileName",
        left(one.value, ${textLength}::int) as value, one.size_bytes::float8 as "sizeBytes", one.uploaded, one.output, one.total::int
      from runs run join contract_revisions revision on revision.id = run.contract_revision_id,
        lateral (select array(select material ->> 'name' from jsonb_array_elements(revision.content -> 'materials') material
          where (material ->> 'output')::boolean) as outputs) asked,
        lateral (select *, count(*) over () as total from (
            select name, type, digest, file_name, value, size_bytes, uploaded, name = any (outputs) and type <> 'STRING' as output
            from run_materials where org_id = run.org_id and run_id = run.id
            union all select name, type, digest, file_name, value, size_bytes, uploaded, false
            from run_collected where org_id = run.org_id and run_id = run.id and run.state <> 'success'
          ) brought
          order by coalesce(digest = decode(${digest === undefined ? null : hexOf(digest)}::text, 'hex'), false) desc, output desc, name collate "C" limit ${most}::int) one
      where run.org_id = ${scope.organizationId}::uuid
        and run.id = any (array(select wanted.id::uuid from json_array_elements_text(${JSON.stringify(runIds)}::json) wanted (id)))`,
  );
  return rows.map(({ hex, ...row }) => ({ ...row, digest: hex === null ? null : parseDigest(`sha256:${hex}`) }));
}
