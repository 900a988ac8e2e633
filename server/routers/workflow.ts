import { contractDigest, parseContract } from '../../core/contract.ts';
import { type WorkflowView, wire } from '../../core/wire.ts';
import type { RevisionContent } from '../../db/contracts.ts';
import { holdWorkflow } from '../../db/retention.ts';
import {
  createWorkflow,
  describeWorkflow,
  type ListedWorkflow,
  listWorkflows,
  removeWorkflow,
  updateWorkflow,
} from '../../db/workflows.ts';
import { admin, router, viewer } from '../trpc.ts';

export const workflows = router({
  /** Nothing of its runs is removed from now on, whatever retention says. */
  hold: admin.input(wire.workflowHold).mutation(async ({ ctx: { scope, services, caller }, input: { reason, ...ref } }) => {
    const { id } = await describeWorkflow(scope, ref);
    await holdWorkflow(scope, id, { reason, now: services.now() });
    services.log.info(
      { audit: true, organizationId: scope.organizationId, by: caller.type, workflowId: id, reason },
      'workflow is on hold',
    );
    return { id };
  }),
  release: admin.input(wire.workflowRef).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const { id } = await describeWorkflow(scope, input);
    await holdWorkflow(scope, id, { reason: null, now: services.now() });
    services.log.info({ audit: true, organizationId: scope.organizationId, by: caller.type, workflowId: id }, 'workflow is released');
    return { id };
  }),
  /** A workflow, and its project where that is missing. Without a contract it gets an empty one of its own name, which must be free. */
  create: admin.input(wire.workflowCreate).mutation(async ({ ctx: { scope }, input }) => {
    const { name, project, team } = input;
    return view(
      await createWorkflow(scope, { name, project, team, contract: input.contract ?? { name, content: emptyContract(), isNew: true } }),
    );
  }),
  list: viewer.input(wire.workflowList).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listWorkflows(scope, input);
    return { items: items.map(view), nextCursor };
  }),
  describe: viewer.input(wire.workflowRef).query(async ({ ctx: { scope }, input }) => view(await describeWorkflow(scope, input))),
  update: admin
    .input(wire.workflowUpdate)
    .mutation(async ({ ctx: { scope }, input }) =>
      view(await updateWorkflow(scope, input, { team: input.team, contract: input.contract })),
    ),
  /** Hides the workflow and ends its tokens; its runs stay. */
  remove: admin
    .input(wire.workflowRef)
    .mutation(async ({ ctx: { scope, services }, input }) => removeWorkflow(scope, input, services.now())),
});

/** What a workflow has until somebody writes a contract: nothing is asked for. */
function emptyContract(): RevisionContent {
  const body = 'schemaVersion: v1\n';
  const { contract } = parseContract(body, 'yaml');
  return { format: 'yaml', body, content: contract, contentDigest: contractDigest(contract) };
}

function view(row: ListedWorkflow): WorkflowView {
  const { id, name, project, team, contractName, contractRevision, runsCount, lastRunId, lastRunState, lastRunAt } = row;
  const lastRun =
    lastRunId === null || lastRunState === null || lastRunAt === null
      ? null
      : { id: lastRunId, state: lastRunState, createdAt: lastRunAt.toISOString() };
  return { id, name, project, team, contractName, contractRevision, createdAt: row.createdAt.toISOString(), runsCount, lastRun };
}
