import { and, desc, eq, getTableColumns, type SQL, Subquery, sql } from 'drizzle-orm';
import type { Digest } from '../core/digest.ts';
import type { RunState } from '../core/names.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { afterId, type Page, paged, position, rowsWanted } from './page.ts';
import { contractRevisions, contracts, runMaterials, runs } from './schema.ts';

/** A run whose attestation is about some bytes: they are a subject of its statement. */
export type AttestedRow = {
  readonly id: string;
  readonly state: RunState;
  readonly workflow: string;
  readonly project: string;
  readonly contractName: string;
  readonly contractRevision: number;
  readonly bundleDigest: Digest | null;
  readonly signer: string | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
  /** When retention removed the attestation. */
  readonly removedAt: Date | null;
};

/**
 * The runs that have this digest as a subject, newest first. A page is one of the runs that brought the bytes at all, and may show fewer,
 * or none, and still have a next one: where a thousand runs only use what one has built, no page looks at all of them. Throws USAGE for a
 * malformed cursor.
 */
export async function listAttested(scope: OrgScope, digest: Digest, page: Page): Promise<Paged<AttestedRow>> {
  const rows = await scope.read(
    (tx) =>
      tx
        .select({
          row: {
            id: runs.id,
            state: runs.state,
            // Of each row alone: as a join, the planner reads all workflows for every row where it believes that they are few.
            workflow: sql<string>`(select w.name from workflows w where w.id = workflow_id)`.as('workflow'),
            project: sql<string>`(select p.name from workflows w join projects p on p.id = w.project_id where w.id = workflow_id)`.as(
              'project',
            ),
            contractName: sql<string>`${contracts.name}`.as('contract_name'),
            contractRevision: contractRevisions.revision,
            bundleDigest: runs.bundleDigest,
            signer: runs.signer,
            createdAt: runs.createdAt,
            finishedAt: runs.finishedAt,
            removedAt: runs.removedAt,
            // Subjects are the output materials (core/statement/subjects.ts).
            isSubject: sql<boolean>`exists (
              select from json_array_elements_text(names) brought, jsonb_array_elements(${contractRevisions.content} -> 'materials') material
              where material ->> 'name' = brought and (material ->> 'output')::boolean
            )`.as('is_subject'),
          },
          at: position(runs),
        })
        .from(new Subquery(broughtBy(scope, digest, page), getTableColumns(runs), 'runs'))
        .innerJoin(contractRevisions, eq(contractRevisions.id, runs.contractRevisionId))
        .innerJoin(contracts, eq(contracts.id, contractRevisions.contractId))
        .orderBy(desc(runs.id)),
    { inOrder: true },
  );
  const { items, nextCursor } = paged(rows, page, (row) => row);
  return { items: items.filter(({ isSubject }) => isSubject).map(({ isSubject: _, ...row }) => row), nextCursor };
}

/** The runs of a page that brought the bytes, each with the names that it has for them. */
function broughtBy({ organizationId }: OrgScope, digest: Digest, page: Page): SQL {
  const brought = and(
    eq(runMaterials.organizationId, organizationId),
    eq(runMaterials.digest, digest),
    afterId(runMaterials.runId, page.cursor),
  );
  return sql`select ${runs}.*, names from (
      select run_id, json_agg(name) as names from ${runMaterials} where ${brought} group by run_id order by run_id desc limit ${rowsWanted(page)}
    ) uses, lateral (select * from ${runs} where ${and(eq(runs.organizationId, organizationId), sql`${runs.id} = run_id`)} limit 1) ${runs}`;
}
