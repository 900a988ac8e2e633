import type { AttestedPage, AttestedView } from '../../core/attested.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { InitAnswer, PushAnswer } from '../../core/ports.ts';
import { wire } from '../../core/wire.ts';
import { type AttestedRow, listAttested } from '../../db/attestations.ts';
import type { OrgScope } from '../../db/client.ts';
import { listUnattested, sharedRun } from '../../db/collected.ts';
import { describeContract } from '../../db/contracts.ts';
import { endRun, openRun } from '../../db/run-states.ts';
import { describeWorkflow, type WorkflowRow } from '../../db/workflows.ts';
import { type Actor, isJob, onlyAttests } from '../actor.ts';
import { runnerOf, runOfJob } from '../federation/run.ts';
import { answer, runOf } from '../job-runs.ts';
import { push } from '../referee.ts';
import { assertOpen, expired, finished, runNotFound } from '../run-refusals.ts';
import { job, router, viewer } from '../trpc.ts';
import { collecting } from './collecting.ts';

export const attestations = router({
  ...collecting,
  /**
   * The contract that a run of this job is judged by, and opens none: that of the run that its CI run has open, else the one in force. So that
   * a job can look at what it has before anything is recorded.
   */
  contract: job.input(wire.attestationContract).query(async ({ ctx: { scope, caller }, input }) => {
    const open = caller.type === 'run' ? await sharedRun(scope, caller.workflow.id, caller.naturalKey) : undefined;
    if (open?.state === 'initialized') return { name: open.contractName, revision: open.contractRevision, contract: open.contract };
    const workflow = await workflowOf(caller, scope, input);
    const { contract, revision } = await revisionOf(caller, scope, workflow, input.contractRevision);
    return { name: workflow.contractName, revision, contract };
  }),

  /** Opens a run, pinned to one revision of the contract that the workflow is bound to. The same key gives the same run. */
  init: job.input(wire.attestationInit).mutation(async ({ ctx: { scope, services, caller }, input }): Promise<InitAnswer> => {
    const { idempotencyKey } = input;
    // What a CI system proved about a job counts, not what the job says.
    const runner = caller.type === 'run' ? runnerOf(caller.claims) : input.runner;
    const workflow = await workflowOf(caller, scope, input);
    const { contract, revision } = await revisionOf(caller, scope, workflow, input.contractRevision);
    if (contract.runner !== undefined && contract.runner.type !== runner.type) {
      throw new ChainloopError(
        'RUNNER_MISMATCH',
        `runner: contract '${workflow.contractName}' asks for ${contract.runner.type}, and this job runs in ${runner.type ?? 'no CI system that is known'}`,
      );
    }
    const now = services.now();
    if (caller.type === 'run') {
      return answer(await runOfJob(scope, caller, { workflow, contractRevision: revision, asked: input.contractRevision, now }));
    }
    const identity = caller.type === 'service-account' ? caller.identity : undefined;
    const expiresAt = new Date(now.getTime() + limits.runLifetimeMs);
    const run = await openRun(scope, { workflowId: workflow.id, contractRevision: revision, runner, idempotencyKey, expiresAt, identity });
    if (run.naturalKey !== null) throw new ChainloopError('CONFLICT', 'attestation: this idempotency key is of the run of another job');
    assertOpen(run, now);
    return answer(run);
  }),

  /** The referee's checks, storage, and the run's success: in that order. The same bundle gets the same answer, however often. */
  push: job.input(wire.attestationPush).mutation(async ({ ctx: { scope, services, caller }, input }): Promise<PushAnswer> => {
    const startedAt = performance.now();
    let outcome = 'INTERNAL';
    try {
      const run = await runOf(caller, scope, input.runId);
      const pushed = await push(services, scope, run, input.bundle);
      outcome = pushed.state;
      services.outbox.wake();
      return pushed;
    } catch (error) {
      if (error instanceof ChainloopError) outcome = error.code;
      throw error;
    } finally {
      services.metrics.push(outcome, (performance.now() - startedAt) / 1000);
    }
  }),

  /** The attestations of an artifact: those whose subject it is. Newest first; a page may be empty and have a next one. */
  find: viewer
    .input(wire.attestationFind)
    .query(async ({ ctx: { scope, services }, input: { digest, ...page } }): Promise<AttestedPage> => {
      const { items, nextCursor } = await listAttested(scope, digest, page);
      if (items.length > 0 || nextCursor !== undefined) return { items: items.map(attested), nextCursor };
      const bounds = { limit: limits.gateUnattested, among: limits.gateUnattestedAmong };
      const unattested = await listUnattested(scope, digest, { now: services.now(), ...bounds });
      return { items: [], unattested: unattested.map(({ id: runId, ...run }) => ({ runId, ...run })) };
    }),

  /** Ends a run that will not be pushed. */
  end: job.input(wire.attestationEnd).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const { id } = await runOf(caller, scope, input.runId);
    const { state, reason } = input;
    const outcome = await endRun(scope, id, { state, reason, now: services.now() });
    switch (outcome.type) {
      case 'ended':
      case 'same':
        return { runId: id, state };
      case 'expired':
        throw expired(id);
      case 'absent':
        throw runNotFound(id);
      case 'finished':
        throw finished(id, outcome.state);
    }
  }),
});

function attested({ id: runId, bundleDigest: attestation, createdAt: _, finishedAt, removedAt, ...row }: AttestedRow): AttestedView {
  const times = { finishedAt: finishedAt?.toISOString() ?? null, removedAt: removedAt?.toISOString() ?? null };
  return { runId, ...row, attestation, ...times };
}

/** A job has one workflow, and may name it; an operator must name one. */
async function workflowOf(
  caller: Actor,
  scope: OrgScope,
  { workflow, project }: { readonly workflow?: string | undefined; readonly project?: string | undefined },
): Promise<WorkflowRow> {
  if (isJob(caller)) {
    const own = caller.workflow;
    if ((workflow ?? own.name) !== own.name || (project ?? own.project) !== own.project) {
      throw new ChainloopError(
        'NOT_FOUND',
        `workflow '${workflow ?? own.name}' of project '${project ?? own.project}': not found; this job attests workflow '${own.name}' of project '${own.project}'`,
      );
    }
    return describeWorkflow(scope, own);
  }
  if (workflow === undefined || project === undefined) {
    throw new ChainloopError(
      'USAGE',
      'attestation: name the workflow, with --workflow and --project; only the credential of a job has one of its own',
    );
  }
  return describeWorkflow(scope, { name: workflow, project });
}

/**
 * Only of the contract that the workflow is bound to. NOT_FOUND for a revision that it does not have. A job may say which revision it
 * expects, and no older one than is in force: it would choose what it is judged by. An operator may.
 */
async function revisionOf(caller: Actor, scope: OrgScope, workflow: WorkflowRow, asked: number | undefined) {
  const { content, revision, latestRevision } = await describeContract(scope, workflow.contractName, asked);
  if (onlyAttests(caller) && revision < latestRevision) {
    throw new ChainloopError(
      'CONFLICT',
      `contract '${workflow.contractName}': revision ${revision} is no longer in force, ${latestRevision} is; leave --contract-revision out, or ask for ${latestRevision}`,
    );
  }
  return { contract: content, revision };
}
