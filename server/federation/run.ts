import type { JobClaims } from '../../core/claims.ts';
import type { GitHead, RunnerContext } from '../../core/crafting.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { OrgScope } from '../../db/client.ts';
import { sharedRun } from '../../db/collected.ts';
import { noteAttempt, openRun } from '../../db/run-states.ts';
import type { RunContext } from '../../db/runs.ts';
import type { WorkflowRow } from '../../db/workflows.ts';
import type { Actor } from '../actor.ts';
import { assertOpen, finished } from '../run-refusals.ts';

type RunActor = Extract<Actor, { readonly type: 'run' }>;

/** The runner of a federated job: every field from what its CI system proved, none from the job. */
export function runnerOf(claims: JobClaims): RunnerContext {
  return {
    type: claims.kind === 'github' ? 'GITHUB_ACTION' : 'GITLAB_PIPELINE',
    url: claims.runUrl,
    environment: claims.runnerEnvironment,
    ...(claims.workflowPath !== undefined && { workflowFilePath: claims.workflowPath }),
    authenticated: true,
  };
}

/**
 * Why this cannot be the commit of a run, or undefined. Of a federated run it is the one that its CI system proved, which for a pull request
 * of GitHub is the merge: the commit that was proposed is its second parent. None at all is no lie, and of other runs nothing is proven.
 */
export function otherCommit({ claims }: Pick<RunContext, 'claims'>, head: GitHead | undefined): string | undefined {
  if (claims === null || head === undefined || head.commit === claims.commit) return undefined;
  return `is at commit ${head.commit}, and the CI run is of commit ${claims.commit}, as its CI system proved`;
}

/**
 * The run of a federated job: the one that is open for its CI run, whichever job opened it, else a new one. What has ended stays ended:
 * another attempt of the CI run gets a new run. GitLab does not count attempts; there, a run that did not succeed is followed by another.
 * Throws RUN_ALREADY_FINISHED, RUN_EXPIRED, and CONFLICT when the job asks for another revision than the one that the run is pinned to.
 */
export async function runOfJob(
  scope: OrgScope,
  { claims, naturalKey, identity }: RunActor,
  job: { readonly workflow: WorkflowRow; readonly contractRevision: number; readonly asked: number | undefined; readonly now: Date },
): Promise<RunContext> {
  const { workflow, contractRevision, asked, now } = job;
  const last = await sharedRun(scope, workflow.id, naturalKey);
  const attempt = attemptOf(claims, last);
  const run =
    last?.state === 'initialized'
      ? last
      : await openRun(scope, {
          workflowId: workflow.id,
          contractRevision,
          runner: runnerOf(claims),
          idempotencyKey: `${naturalKey}.${attempt}`,
          expiresAt: new Date(now.getTime() + limits.runLifetimeMs),
          identity,
          federated: { claims, naturalKey, attempt },
        });
  if (run.naturalKey !== naturalKey)
    throw new ChainloopError('CONFLICT', `run ${run.id}: it has the key of this CI run, and is of another job`);
  assertOpen(run, now);
  if (asked !== undefined && asked !== run.contractRevision) {
    throw new ChainloopError(
      'CONFLICT',
      `run ${run.id}: another job of this CI run has opened it with contract revision ${run.contractRevision}, not ${asked}; leave --contract-revision out`,
    );
  }
  if (run.ciAttempt !== null && run.ciAttempt < attempt) await noteAttempt(scope, run.id, attempt);
  return run;
}

/** Which run of this CI run is meant, counted from 1. Throws RUN_ALREADY_FINISHED for one that has ended. */
function attemptOf({ runAttempt }: JobClaims, last: RunContext | undefined): number {
  const before = last?.ciAttempt ?? 0;
  if (last === undefined || last.state === 'initialized') return runAttempt ?? Math.max(before, 1);
  const next = runAttempt ?? (last.state === 'success' ? before : before + 1);
  if (next <= before) throw finished(last.id, last.state);
  return next;
}
