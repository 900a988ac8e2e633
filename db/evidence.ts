import { and, desc, eq, getTableColumns, type SQL, Subquery, sql } from 'drizzle-orm';
import { type Digest, hexOf } from '../core/digest.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { afterId, inOrder, type Page, paged, position, rowsWanted } from './page.ts';
import { evidence, runMaterials, runs } from './schema.ts';

export type EvidenceRow = typeof evidence.$inferSelect;

/** What has arrived, whole and verified. */
export type Arrival = {
  readonly digest: Digest;
  readonly casBackendId: string;
  readonly sizeBytes: number;
  /** Unknown until the manifest says it. */
  readonly mediaType?: string | undefined;
  readonly fileName?: string | undefined;
  readonly manifestDigest?: Digest | undefined;
};

/**
 * Records what has arrived. The same bytes again change only what was not known before, and the place with its manifest, so the blob and
 * its manifest may be recorded in any order and any number of times; what it is called stays as the first manifest said it.
 */
export async function recordEvidence(scope: OrgScope, arrival: Arrival): Promise<void> {
  const { mediaType, fileName, manifestDigest } = arrival;
  await scope.run((tx) =>
    tx
      .insert(evidence)
      .values({ ...arrival, organizationId: scope.organizationId, mediaType: mediaType ?? 'application/octet-stream' })
      .onConflictDoUpdate({
        target: [evidence.organizationId, evidence.digest],
        set: {
          casBackendId: arrival.casBackendId,
          ...(mediaType === undefined
            ? {}
            : { mediaType: sql`case when ${evidence.fileName} is null then ${mediaType} else ${evidence.mediaType} end` }),
          ...(fileName === undefined ? {} : { fileName: sql`coalesce(${evidence.fileName}, ${fileName})` }),
          ...(manifestDigest === undefined ? {} : { manifestDigest }),
        },
      }),
  );
}

/** True when evidence of exactly this size has arrived there. Always false for what is so small that it is hashed before it is sent. */
export async function hasEvidenceOfSize(scope: OrgScope, casBackendId: string, sizeBytes: number): Promise<boolean> {
  const rows = await scope.read((tx) =>
    tx
      .select({ digest: evidence.digest })
      .from(evidence)
      .where(
        and(
          eq(evidence.organizationId, scope.organizationId),
          eq(evidence.sizeBytes, sizeBytes),
          eq(evidence.casBackendId, casBackendId),
          // As the index says it.
          sql`size_bytes > 8388608`,
        ),
      )
      .limit(1),
  );
  return rows.length > 0;
}

/** What of these has arrived. */
export function findEvidence(scope: OrgScope, digests: readonly Digest[]): Promise<EvidenceRow[]> {
  if (digests.length === 0) return Promise.resolve([]);
  // One parameter, however many digests: the statement stays the same and is prepared once.
  const hexes = JSON.stringify(digests.map(hexOf));
  return scope.read((tx) =>
    tx
      .select()
      .from(evidence)
      .where(
        and(
          eq(evidence.organizationId, scope.organizationId),
          sql`${evidence.digest} = any (array(select decode(hex, 'hex') from json_array_elements_text(${hexes}::json) hex))`,
        ),
      ),
  );
}

/** A run that brought a digest. */
export type UseRow = {
  readonly id: string;
  readonly workflowId: string;
  readonly workflow: string;
  readonly project: string;
  readonly material: string;
  readonly createdAt: Date;
};

/** The runs that brought this digest, newest first, however many they are. Throws USAGE for a malformed cursor. */
export async function listUses(scope: OrgScope, digest: Digest, page: Page): Promise<Paged<UseRow>> {
  const rows = await scope.read((tx) =>
    inOrder(
      tx,
      tx
        .select({
          row: {
            id: runs.id,
            workflowId: runs.workflowId,
            workflow: sql<string>`(select w.name from workflows w where w.id = workflow_id)`.as('workflow'),
            project: sql<string>`(select p.name from workflows w join projects p on p.id = w.project_id where w.id = workflow_id)`.as(
              'project',
            ),
            material: sql<string>`material`,
            createdAt: runs.createdAt,
          },
          at: position(runs),
        })
        .from(new Subquery(usesOf(scope, digest, page), getTableColumns(runs), 'runs'))
        .orderBy(desc(runs.id)),
    ),
  );
  return paged(rows, page, (row) => row);
}

/** The runs of a page of uses, each with what it calls the bytes. A run that brought them under two names is one use. */
function usesOf({ organizationId }: OrgScope, digest: Digest, page: Page): SQL {
  const brought = and(
    eq(runMaterials.organizationId, organizationId),
    eq(runMaterials.digest, digest),
    afterId(runMaterials.runId, page.cursor),
  );
  return sql`select ${runs}.*, material from (
      select run_id, min(name) as material from ${runMaterials} where ${brought} group by run_id order by run_id desc limit ${rowsWanted(page)}
    ) uses, lateral (select * from ${runs} where ${and(eq(runs.organizationId, organizationId), sql`${runs.id} = run_id`)} limit 1) ${runs}`;
}
