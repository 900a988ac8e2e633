import { and, asc, eq, getTableColumns, type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { Contract } from '../core/contract.ts';
import type { Digest } from '../core/digest.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { type Page, pagedAt, type Written } from './page.ts';
import { asked, pageOfRuns, type RunFilter } from './run-filter.ts';
import { contractRevisions, contracts, organizations, projects, runMaterials, runs, workflows } from './schema.ts';
import { statementOf } from './statement.ts';
import { found } from './violation.ts';

/** A run with the names of what it belongs to. */
type RunRow = Omit<typeof runs.$inferSelect, 'start'> & {
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

/** What a list of runs shows. */
export type ListedRun = Pick<
  RunRow,
  | 'id'
  | 'workflowId'
  | 'workflow'
  | 'project'
  | 'contractName'
  | 'contractRevision'
  | 'state'
  | 'createdAt'
  | 'finishedAt'
  | 'runnerType'
  | 'runnerUrl'
  | 'runnerAuthenticated'
  | 'headCommit'
  | 'bundleDigest'
  | 'signer'
  | 'removedAt'
> & {
  /** Its CI system proved the commit. */
  readonly commitAuthenticated: boolean;
};
/** As a list has it from the database. */
export type ListedRunRow = Written<ListedRun>;

/** Runs, newest first; also those of removed workflows. Throws USAGE for a malformed cursor. */
export async function listRuns(scope: OrgScope, page: Page & RunFilter): Promise<Paged<ListedRun>> {
  const newest = statementOf('runs', scope, asked(page), (organizationId, places, few) =>
    namedRuns(pageOfRuns(organizationId, places, few), sql`r.created_at desc, r.id desc`, places.workflowId),
  );
  return pagedAt(await scope.rows<ListedRunRow>(newest, { inOrder: true }), page);
}

/** One run as lists show it. Throws NOT_FOUND. */
export async function listRun(scope: OrgScope, id: string): Promise<ListedRun> {
  const one = sql`select * from ${runs} where ${and(eq(runs.organizationId, scope.organizationId), eq(runs.id, id))} limit 1`;
  const { items } = pagedAt(await scope.rows<ListedRunRow>(namedRuns(one, sql`r.id`)), { limit: 1 });
  return found(items[0], `run ${id}`);
}

/**
 * The few runs that a query finds, `r`, and then the names for these, one by one: no plan can then join all runs. The workflow, where all are
 * of one, is looked up once.
 */
export function namedRuns(few: SQL, order: SQL, workflowId?: Placeholder): SQL {
  return sql`select r.id, r.workflow_id as "workflowId", w.name as workflow, w.project, v.name as "contractName",
      v.revision as "contractRevision", r.state, r.created_at::text as "createdAt", r.finished_at as "finishedAt", r.runner_type as "runnerType",
      r.runner_url as "runnerUrl", r.runner_authenticated as "runnerAuthenticated", r.head_commit as "headCommit",
      coalesce(r.head_commit = r.claims ->> 'commit', false) as "commitAuthenticated",
      'sha256:' || encode(r.bundle_digest, 'hex') as "bundleDigest", r.signer, r.removed_at as "removedAt"
    from (${few}) r,
      lateral (select w.name, p.name as project from workflows w join projects p on p.id = w.project_id
        where w.id = ${workflowId ?? sql`r.workflow_id`} limit 1) w,
      lateral (select v.revision, c.name from contract_revisions v join contracts c on c.id = v.contract_id
        where v.id = r.contract_revision_id limit 1) v
    order by ${order}`;
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
