import { and, asc, desc, eq, getTableColumns, type SQL, Subquery, sql } from 'drizzle-orm';
import type { Contract } from '../core/contract.ts';
import type { Digest } from '../core/digest.ts';
import type { RunState } from '../core/names.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { after, type Page, paged, position, rowsWanted } from './page.ts';
import { projectNamed } from './projects.ts';
import { contractRevisions, contracts, organizations, projects, runMaterials, runs, workflows } from './schema.ts';
import { found } from './violation.ts';

/** A run with the names that lists show. */
export type RunRow = Omit<typeof runs.$inferSelect, 'start'> & {
  readonly workflow: string;
  readonly project: string;
  readonly contractRevision: number;
};
/** A run with all that it is judged by: the contract is the pinned revision. */
export type RunContext = RunRow & {
  readonly organization: string;
  readonly team: string;
  readonly contractName: string;
  readonly contract: Contract;
  readonly contractDigest: Digest;
};
export type MaterialRow = Omit<typeof runMaterials.$inferSelect, 'organizationId' | 'runId'>;

export type RunFilter = {
  readonly workflowId?: string | undefined;
  readonly project?: string | undefined;
  readonly state?: RunState | undefined;
};

/**
 * Runs, newest first; also those of removed workflows. However many there are, a page reads a page of index entries; of a project, one for
 * each of its workflows and a page of some. Throws USAGE for a malformed cursor.
 */
export async function listRuns(scope: OrgScope, page: Page & RunFilter): Promise<Paged<RunRow>> {
  const rows = await scope.read(
    // The page first, from its index, and the names for these few rows after: no plan can then join all runs.
    (tx) =>
      tx
        .select({ row: listed, at: position(runs) })
        .from(new Subquery(pageOf(scope, page), getTableColumns(runs), 'runs'))
        .innerJoin(workflows, eq(workflows.id, runs.workflowId))
        .innerJoin(projects, eq(projects.id, workflows.projectId))
        .innerJoin(contractRevisions, eq(contractRevisions.id, runs.contractRevisionId))
        .orderBy(desc(runs.createdAt), desc(runs.id)),
    { inOrder: true },
  );
  return paged(rows, page, (row) => row);
}

/** The runs of a page. */
function pageOf(scope: OrgScope, page: Page & RunFilter): SQL {
  const { workflowId, project, state, cursor } = page;
  const few = rowsWanted(page);
  const some = and(
    eq(runs.organizationId, scope.organizationId),
    workflowId === undefined ? undefined : eq(runs.workflowId, workflowId),
    state === undefined ? undefined : eq(runs.state, state),
    after(runs, cursor),
  );
  const newest = sql`order by ${runs.createdAt} desc, ${runs.id} desc limit`;
  if (project === undefined) return sql`select * from ${runs} where ${some} ${newest} ${few}`;
  // A page can hold runs of those workflows alone whose newest run is among the newest of all: first these, then their runs.
  const own = and(eq(workflows.organizationId, scope.organizationId), eq(workflows.projectId, projectNamed(scope.organizationId, project)));
  return sql`select ${runs}.* from (
      select ${workflows.id} as workflow_id from ${workflows}, lateral (
        select created_at, id from ${runs} where ${and(some, sql`${runs.workflowId} = ${workflows.id}`)} ${newest} 1
      ) latest where ${own} order by latest.created_at desc, latest.id desc limit ${few}
    ) active, lateral (
      select * from ${runs} where ${and(some, sql`${runs.workflowId} = active.workflow_id`)} ${newest} ${few}
    ) ${runs} ${newest} ${few}`;
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
      contractName: sql<string>`${contracts.name}`.as('contract_name'),
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
  contractRevision: contractRevisions.revision,
};
