import { wrongAnnotations } from '../../core/annotations.ts';
import { notSatisfied, surplusVariables, unstartable } from '../../core/completeness.ts';
import type { CraftedMaterial, CraftingStart } from '../../core/crafting.ts';
import { materialValue } from '../../core/crafting.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { InitAnswer } from '../../core/ports.ts';
import { wire } from '../../core/wire.ts';
import { type Collected, collect, keepStart, listCollected, sharedRun, startOf } from '../../db/collected.ts';
import type { RunContext } from '../../db/runs.ts';
import type { Actor } from '../actor.ts';
import { otherCommit } from '../federation/run.ts';
import { answer, runOf } from '../job-runs.ts';
import { assertOpen } from '../run-refusals.ts';
import { job } from '../trpc.ts';

/** What several jobs do to one run: its materials are rows, so nothing has to be passed between them. */
export const collecting = {
  /**
   * Keeps what `init` fixed; the first job that says so decides for all. False when one did before. CONTRACT_NOT_SATISFIED for variables
   * and annotations that are not of the pinned contract, STATEMENT_MISMATCH for another commit than the one that the CI system proved,
   * LIMIT_EXCEEDED beyond `limits.stateSizeBytes`.
   */
  begin: job.input(wire.attestationBegin).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const run = await runOf(caller, scope, input.runId);
    assertOpen(run, services.now());
    const { runId, organization, project, team, workflowId, workflowName, contractName, contractRevision, ...rest } = answer(run);
    const start: CraftingStart = {
      version: 1,
      identity: { runId, organization, project, team, workflowId, workflowName, contractName, contractRevision },
      contract: rest.contract,
      runner: rest.runner,
      initializedAt: rest.initializedAt,
      dryRun: false,
      controlPlane: services.origin(),
      ...input.start,
    };
    assertStart(start);
    assertCommit(run, start);
    return { kept: await keepStart(scope, runId, start) };
  }),

  /**
   * The run of this credential, or the one that is named: what it is pinned to, its state, what `init` fixed (null before it did), and what
   * its jobs have brought so far. NOT_FOUND.
   */
  current: job.input(wire.attestationCurrent).query(async ({ ctx: { scope, services, caller }, input }) => {
    const run = input.runId === undefined ? await ownRun(caller, scope) : await runOf(caller, scope, input.runId);
    const [start, collected] = await Promise.all([startOf(scope, run.id), listCollected(scope, run.id)]);
    const opened: InitAnswer = answer(run);
    const state = run.state === 'initialized' && run.expiresAt <= services.now() ? 'expired' : run.state;
    return { run: opened, state, start, collected };
  }),

  /**
   * Adds one material to an open run. `recordedBy`: the job that had brought the same content under this name. MATERIAL_UNKNOWN,
   * MATERIAL_KIND_MISMATCH, CONTRACT_NOT_SATISFIED; CONFLICT for other content, with both jobs and digests; RUN_ALREADY_FINISHED,
   * RUN_EXPIRED.
   */
  collect: job.input(wire.attestationCollect).mutation(async ({ ctx: { scope, services, caller }, input }) => {
    const { material } = input;
    const run = await runOf(caller, scope, input.runId);
    assertOpen(run, services.now());
    assertWanted(run, material);
    const brought: Collected = { material, job: labelOf(caller, input.job) };
    const jobWorkflowRef = caller.type === 'run' ? caller.claims.jobWorkflowRef : undefined;
    const outcome = await collect(scope, run.id, { ...brought, jobWorkflowRef }, services.now());
    switch (outcome.type) {
      case 'added':
        return { recordedBy: null };
      case 'existed':
        return { recordedBy: outcome.there.job };
      case 'conflict':
        throw conflict(outcome.there, brought);
      case 'closed': {
        const now = await runOf(caller, scope, run.id);
        assertOpen(now, services.now());
        throw new Error(`run ${run.id} is open, and takes nothing`);
      }
    }
  }),
};

async function ownRun(caller: Actor, scope: Parameters<typeof runOf>[1]): Promise<RunContext> {
  if (caller.type !== 'run') {
    throw new ChainloopError('USAGE', 'attestation: name the run; only the credential of a CI run has one of its own');
  }
  const run = await sharedRun(scope, caller.workflow.id, caller.naturalKey);
  if (run !== undefined) return run;
  throw new ChainloopError('NOT_FOUND', 'attestation: no job of this CI run has begun one; begin it with: chainloop attestation init');
}

/** As the job checks it before it begins: a job's word is not enough. */
function assertStart(start: CraftingStart): void {
  const problems = [...unstartable(start.contract, start), ...surplusVariables(start.contract, start)];
  if (problems.length > 0) throw notSatisfied(start.contract, start, problems);
  const sizeBytes = Buffer.byteLength(JSON.stringify(start));
  if (sizeBytes <= limits.stateSizeBytes) return;
  throw new ChainloopError('LIMIT_EXCEEDED', `attestation: what init fixes has ${sizeBytes} bytes; the limit is ${limits.stateSizeBytes}`);
}

/** It would be refused at the push, when all jobs have done their work. */
function assertCommit(run: RunContext, { head }: CraftingStart): void {
  const problem = otherCommit(run, head);
  if (problem === undefined) return;
  throw new ChainloopError(
    'STATEMENT_MISMATCH',
    `attestation: the checkout ${problem}; attest from a checkout of that commit, or from a folder that is none`,
  );
}

/** The contract bounds what a run can hold: one row for each of its materials. */
function assertWanted({ contract }: RunContext, { name, type, annotations }: CraftedMaterial): void {
  const wanted = contract.materials.find((candidate) => candidate.name === name);
  if (wanted === undefined) throw new ChainloopError('MATERIAL_UNKNOWN', `contract: no material '${name}'`);
  if (wanted.type !== type) {
    throw new ChainloopError(
      'MATERIAL_KIND_MISMATCH',
      `material '${name}': it is said to be ${type}, and the contract asks for ${wanted.type}`,
    );
  }
  const problems = wrongAnnotations(`material '${name}'`, wanted.annotations, annotations).slice(0, limits.problems);
  const [problem] = problems;
  if (problem !== undefined) throw new ChainloopError('CONTRACT_NOT_SATISFIED', `contract: ${problem.message}`, { problems });
}

/** The name is the job's own word; the numbers are what its CI system proved. */
function labelOf(caller: Actor, said: string): string {
  const proven =
    caller.type === 'run'
      ? [caller.claims.jobId && `id ${caller.claims.jobId}`, caller.claims.runAttempt && `attempt ${caller.claims.runAttempt}`]
      : [];
  const numbers = proven.filter(Boolean).join(', ');
  return [`'${said === '' ? caller.name : said}'`, ...(numbers === '' ? [] : [`(${numbers})`])].join(' ');
}

function conflict(there: Collected, here: Collected): ChainloopError {
  const { name } = here.material;
  const shown = ({ material, job }: Collected): string => `${job} brought ${shownContent(material)}`;
  return new ChainloopError(
    'CONFLICT',
    `material '${name}': job ${shown(there)}, and job ${shown(here)}; give each its own name, or add the same in both`,
    { problems: [there, here].map((brought) => ({ path: name, message: `job ${shown(brought)}` })) },
  );
}

function shownContent(material: CraftedMaterial): string {
  if (material.digest !== undefined) return `${material.type} ${material.digest}`;
  const value = materialValue(material);
  return `${material.type} '${value.slice(0, 80)}${value.length > 80 ? '…' : ''}'`;
}
