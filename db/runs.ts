import { and, asc, desc, eq, getTableColumns, type SQL, Subquery, sql } from 'drizzle-orm';
import type { Contract } from '../core/contract.ts';
import type { Digest } from '../core/digest.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { type Page, paged, position } from './page.ts';
import { pageOfRuns, type RunFilter } from './run-filter.ts';
import { contractRevisions, contracts, organizations, projects, runMaterials, runs, workflows } from './schema.ts';
import { found } from './violation.ts';

/** A run with the names that lists show. */
export type RunRow = Omit<typeof runs.$inferSelect, 'start'> & {
  readonly workflow: string;
  readonly project: string;
  readonly contractName: string;
  readonly contractRevision: number;
};
/** A run with all that it is judged by: the contract is the pinned revision. */
export type RunContext = RunRow & {
  readonly organization: string;
  readonly team: string;
  readonly contract: Contract;
  readonly contractDigest: Digest;
};
export type MaterialRow = Omit<typeof runMaterials.$inferSelect, 'organizationId' | 'runId'>;

/** Runs, newest first; also those of removed workflows. Throws USAGE for a malformed cursor. */
export async function listRuns(scope: OrgScope, page: Page & RunFilter): Promise<Paged<RunRow>> {
  const rows = await scope.read(
    (tx) => namedRuns(tx, pageOfRuns(scope.organizationId, page)).orderBy(desc(runs.createdAt), desc(runs.id)),
    {
      inOrder: true,
    },
  );
  return paged(rows, page, (row) => row);
}

/** The few runs that a query finds, and then the names for these: no plan can then join all runs. */
export function namedRuns(tx: Tx, few: SQL) {
  return tx
    .select({ row: listed, at: position(runs) })
    .from(new Subquery(few, getTableColumns(runs), 'runs'))
    .innerJoin(workflows, eq(workflows.id, runs.workflowId))
    .innerJoin(projects, eq(projects.id, workflows.projectId))
    .innerJoin(contractRevisions, eq(contractRevisions.id, runs.contractRevisionId))
    .innerJoin(contracts, eq(contracts.id, contractRevisions.contractId));
}

/** One run with its contract: what the referee judges by. Throws NOT_FOUND. */
export async function describeRun(scope: OrgScope, id: string): Promise<RunContext> {
  const row = await scope.read((tx) => selectRun(tx, scope, eq(runs.id, id)));
  return found(row, `run ${id}`);
}

/** What a run brought, by name. Empty unless it is a success. */
export function listMaterials(scope: OrgScope, runId: string): Promise<MaterialRow[]> {
  const { organizationId: _, runId: __, ...columns } = getTableColumns(runMaterials);
  return scope.read((tx) =>
    tx
      .select(columns)
      .from(runMaterials)
      .where(and(eq(runMaterials.organizationId, scope.organizationId), eq(runMaterials.runId, runId)))
      .orderBy(asc(sql`${runMaterials.name} collate "C"`)),
  );
}

/** The one run of that condition within a transaction, or undefined. */
export async function selectRun(tx: Tx, scope: OrgScope, which: SQL | undefined): Promise<RunContext | undefined> {
  const [row] = await tx
    .select({
      ...listed,
      organization: sql<string>`${organizations.name}`.as('organization'),
      team: workflows.team,
      contract: contractRevisions.content,
      contractDigest: contractRevisions.contentDigest,
    })
    .from(runs)
    .innerJoin(workflows, eq(workflows.id, runs.workflowId))
    .innerJoin(projects, eq(projects.id, workflows.projectId))
    .innerJoin(contractRevisions, eq(contractRevisions.id, runs.contractRevisionId))
    .innerJoin(contracts, eq(contracts.id, contractRevisions.contractId))
    .innerJoin(organizations, eq(organizations.id, runs.organizationId))
    .where(and(eq(runs.organizationId, scope.organizationId), which));
  return row;
}

/** All but `start`, which may be large. */
const { start: _, ...columnsOfRuns } = getTableColumns(runs);
const listed = {
  ...columnsOfRuns,
  workflow: sql<string>`${workflows.name}`.as('workflow'),
  project: sql<string>`${projects.name}`.as('project'),
  contractName: sql<string>`${contracts.name}`.as('contract_name'),
  contractRevision: contractRevisions.revision,
};
