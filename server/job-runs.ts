import type { InitAnswer } from '../core/ports.ts';
import type { OrgScope } from '../db/client.ts';
import { describeRun, type RunContext } from '../db/runs.ts';
import { type Actor, isJob, onlyAttests } from './actor.ts';
import { runNotFound } from './run-refusals.ts';

/** Runs as those see them who attest. */

/** A service account sees the runs of its own workflow, a federated job those of its own CI run; others do not exist for them. */
export async function runOf(caller: Actor, scope: OrgScope, id: string): Promise<RunContext> {
  const run = await describeRun(scope, id);
  if (isJob(caller) && caller.workflow.id !== run.workflowId) throw runNotFound(id);
  // What a CI system vouches for is pushed by its jobs alone; an operator may end it.
  if (onlyAttests(caller) && run.naturalKey !== (caller.type === 'run' ? caller.naturalKey : null)) throw runNotFound(id);
  return run;
}

/** What a job needs to know of its run. */
export function answer(run: RunContext): InitAnswer {
  return {
    runId: run.id,
    organization: run.organization,
    project: run.project,
    team: run.team,
    workflowId: run.workflowId,
    workflowName: run.workflow,
    contractName: run.contractName,
    contractRevision: run.contractRevision,
    contract: run.contract,
    initializedAt: run.createdAt.toISOString(),
    expiresAt: run.expiresAt.toISOString(),
    runner: {
      ...(run.runnerType !== null && { type: run.runnerType }),
      ...(run.runnerUrl !== null && { url: run.runnerUrl }),
      ...(run.runnerEnvironment !== null && { environment: run.runnerEnvironment }),
      ...(run.runnerWorkflowFilePath !== null && { workflowFilePath: run.runnerWorkflowFilePath }),
      authenticated: run.runnerAuthenticated,
    },
    collected: run.naturalKey !== null,
  };
}
