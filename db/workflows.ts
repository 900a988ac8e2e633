import { and, eq, getTableColumns, isNull, sql } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { insertContract, lockContract, type RevisionContent } from './contracts.ts';
import { afterPlace, type Page, pagedAt, type Written } from './page.ts';
import { ensureProject, projectNamed } from './projects.ts';
import { contracts, projects, workflows } from './schema.ts';
import { statementOf } from './statement.ts';
import { found, refusing } from './violation.ts';

/** A workflow with the names of what it belongs to. `contractRevision` is the contract's latest: what the next run will pin. */
export type WorkflowRow = typeof workflows.$inferSelect & {
  readonly project: string;
  readonly contractName: string;
  readonly contractRevision: number;
};

export type WorkflowRef = { readonly name: string; readonly project: string };

export type NewWorkflow = WorkflowRef & {
  readonly team: string;
  /** A contract that exists, or one to make unless its name is taken; then that one is used, or with `isNew` refused. */
  readonly contract: string | MissingContract;
};

type MissingContract = { readonly name: string; readonly content: RevisionContent; readonly isNew?: boolean };

/** Makes a workflow, its project and its contract where they are missing. Throws ALREADY_EXISTS, and NOT_FOUND for the contract. */
export function createWorkflow(scope: OrgScope, workflow: NewWorkflow): Promise<WorkflowRow> {
  const { organizationId } = scope;
  const { name, project, team, contract } = workflow;
  return refusing(
    {
      workflows_name_key: () => nameTaken(workflow),
      contracts_name_key: () => new ChainloopError('CONFLICT', `workflow '${name}': its contract is being made by someone else; try again`),
    },
    scope.run(async (tx) => {
      const contractId =
        typeof contract === 'string' ? await lockContract(tx, scope, contract) : await ensureContract(tx, scope, contract, workflow);
      const projectId = await ensureProject(tx, scope, project);
      const [made] = await tx
        .insert(workflows)
        .values({ organizationId, projectId, contractId, name, team })
        .returning({ id: workflows.id });
      const [row] = await selectWorkflows(tx).where(eq(workflows.id, found(made, `workflow '${name}'`).id));
      return found(row, `workflow '${name}'`).row;
    }),
  );
}

/** What a list of workflows shows. Counts and the last run are columns. */
export type ListedWorkflow = Pick<
  WorkflowRow,
  | 'id'
  | 'name'
  | 'team'
  | 'project'
  | 'contractName'
  | 'contractRevision'
  | 'createdAt'
  | 'runsCount'
  | 'lastRunId'
  | 'lastRunState'
  | 'lastRunAt'
>;

/** Workflows, newest first, of one project when it is given. Throws USAGE for a malformed cursor. */
export async function listWorkflows(
  scope: OrgScope,
  page: Page & { readonly project?: string | undefined },
): Promise<Paged<ListedWorkflow>> {
  const newest = statementOf('workflows', scope, page, (organizationId, asked, few) => {
    const shown = and(
      sql`org_id = ${organizationId}::uuid and deleted_at is null`,
      asked.project && eq(workflows.projectId, projectNamed(organizationId, asked.project)),
      afterPlace(workflows, asked),
    );
    // The page first, from its index, and the names for these few rows after, one by one.
    return sql`select w.id, w.name, w.team, p.name as project, c.name as "contractName", c.latest_revision as "contractRevision",
        w.created_at::text as "createdAt", w.runs_count as "runsCount",
        w.last_run_id as "lastRunId", w.last_run_state as "lastRunState", w.last_run_at as "lastRunAt"
      from (select * from workflows where ${shown} order by created_at desc, id desc limit ${few}) w,
        lateral (select name from projects where id = w.project_id limit 1) p,
        lateral (select name, latest_revision from contracts where id = w.contract_id limit 1) c
      order by w.created_at desc, w.id desc`;
  });
  return pagedAt(await scope.rows<Written<ListedWorkflow>>(newest, { inOrder: true }), page);
}

/** One workflow. Throws NOT_FOUND. */
export async function describeWorkflow(scope: OrgScope, ref: WorkflowRef): Promise<WorkflowRow> {
  const [row] = await scope.read((tx) => selectWorkflows(tx).where(live(scope, ref)));
  return found(row, `workflow '${ref.name}' of project '${ref.project}'`).row;
}

/** One workflow by id, also a removed one (`deletedAt`), or undefined. */
export async function findWorkflow(scope: OrgScope, id: string): Promise<WorkflowRow | undefined> {
  const [row] = await scope.read((tx) =>
    selectWorkflows(tx).where(and(eq(workflows.organizationId, scope.organizationId), eq(workflows.id, id))),
  );
  return row?.row;
}

/** Changes team or contract, for runs to come. Throws NOT_FOUND. */
export function updateWorkflow(
  scope: OrgScope,
  ref: WorkflowRef,
  change: { readonly team?: string | undefined; readonly contract?: string | undefined },
): Promise<WorkflowRow> {
  const what = `workflow '${ref.name}' of project '${ref.project}'`;
  return scope.run(async (tx) => {
    const [before] = await selectWorkflows(tx).where(live(scope, ref));
    const { row } = found(before, what);
    await tx
      .update(workflows)
      .set({
        team: change.team ?? row.team,
        contractId: change.contract === undefined ? row.contractId : await lockContract(tx, scope, change.contract),
      })
      .where(eq(workflows.id, row.id));
    const [now] = await selectWorkflows(tx).where(eq(workflows.id, row.id));
    return found(now, what).row;
  });
}

/** Hides a workflow; its runs stay, its tokens end. Throws NOT_FOUND. */
export async function removeWorkflow(scope: OrgScope, ref: WorkflowRef, now: Date): Promise<void> {
  await scope.run(async (tx) => {
    const [before] = await selectWorkflows(tx).where(live(scope, ref));
    const { row } = found(before, `workflow '${ref.name}' of project '${ref.project}'`);
    await tx.update(workflows).set({ deletedAt: now }).where(eq(workflows.id, row.id));
    await tx.execute(sql`update tokens set revoked_at = ${now.toISOString()} where workflow_id = ${row.id} and revoked_at is null`);
  });
}

function selectWorkflows(tx: Tx) {
  return tx
    .select({
      row: {
        ...getTableColumns(workflows),
        project: sql<string>`${projects.name}`.as('project'),
        contractName: sql<string>`${contracts.name}`.as('contract_name'),
        contractRevision: contracts.latestRevision,
      },
    })
    .from(workflows)
    .innerJoin(projects, eq(projects.id, workflows.projectId))
    .innerJoin(contracts, eq(contracts.id, workflows.contractId));
}

async function ensureContract(tx: Tx, scope: OrgScope, contract: MissingContract, workflow: WorkflowRef): Promise<string> {
  const [there] = await tx
    .select({ id: contracts.id })
    .from(contracts)
    .where(and(eq(contracts.organizationId, scope.organizationId), eq(contracts.name, contract.name), isNull(contracts.deletedAt)))
    .for('share');
  if (there === undefined) return (await insertContract(tx, scope, contract.name, contract.content)).id;
  if (contract.isNew !== true) return there.id;
  if ((await selectWorkflows(tx).where(live(scope, workflow))).length > 0) throw nameTaken(workflow);
  throw new ChainloopError(
    'ALREADY_EXISTS',
    `contract '${contract.name}' exists already; to use it for the workflow, say so: --contract ${contract.name}`,
  );
}

function nameTaken({ name, project }: WorkflowRef): ChainloopError {
  return new ChainloopError('ALREADY_EXISTS', `workflow '${name}' exists already in project '${project}'; choose another name`);
}

function live(scope: OrgScope, ref: WorkflowRef) {
  return and(
    eq(workflows.organizationId, scope.organizationId),
    eq(projects.name, ref.project),
    eq(workflows.name, ref.name),
    isNull(workflows.deletedAt),
  );
}
