import { randomUUID } from 'node:crypto';
import { keepCredential } from '../client/run-credential.ts';
import { ciTokenSource } from '../core/adapters/ci-token.ts';
import { ChainloopError } from '../core/errors.ts';
import { detectRunner, jobName } from '../core/runner.ts';
import { endRun } from '../plugin/end-run.ts';
import { type Ending, endingOf, failedJob, type JobStatus, type Saved } from '../plugin/ending.ts';
import type { Inputs } from '../plugin/inputs.ts';
import { openSession } from '../plugin/session.ts';
import { readAttestInputs } from './attest-inputs.ts';
import { ciPlatform, forkOf } from './ci.ts';
import { command, text } from './command.ts';
import { type Context, print } from './context.ts';
import { openJobMemory } from './job-memory.ts';

/** A job that was cancelled is waited for by a person. */
const retryBudgetMs = 10_000;

export const ciFinish = command({
  name: 'ci-finish',
  about: 'end what chainloop attest began in this job and will not push, and delete the credential of the job',
  examples: ['chainloop ci-finish', 'chainloop ci-finish --status failed'],
  details: `For the part of a job that runs whatever happened before, such as after_script of GitLab. A job that failed, was cancelled or took too long
before its attestation was pushed leaves a run that says so. Takes the variables of 'chainloop attest'. Never fails.`,
  flags: { status: text('<status>', 'how the job ended: success, failed, canceled or timedout (default: CI_JOB_STATUS, AGENT_JOBSTATUS)') },
  run: async (context, { status }) => {
    const { env, log } = context;
    const told: string[] = [];
    try {
      told.push(...(await finish(context, status ?? (env.CI_JOB_STATUS || env.AGENT_JOBSTATUS || ''))));
    } catch (error) {
      told.push(error instanceof Error ? error.message : String(error));
    }
    for (const line of told) log.info(line);
    print(context, { told }, () => []);
  },
});

async function finish(context: Context, written: string): Promise<readonly string[]> {
  const memory = await openJobMemory(context);
  if (memory === undefined) throw new ChainloopError('USAGE', 'this is no CI job that is known here; nothing to end');
  const steps = memory.all();
  const inputs = readAttestInputs(context, {});
  // Whoever needs them hears of what is wrong with them.
  inputs.catch(() => undefined);
  try {
    const jobStatus = statusOf(written);
    const told: string[] = [];
    for (const step of steps) told.push(...(await finishStep(context, step, jobStatus)));
    if (steps.length === 0) told.push(...(await finishWithoutStep(context, await inputs, jobStatus)));
    return told;
  } finally {
    memory.forget();
    await forgetCredential(context, await inputs.catch(() => undefined));
  }
}

async function finishStep(context: Context, saved: Saved, jobStatus: JobStatus): Promise<readonly string[]> {
  const ending = endingOf(saved, jobStatus, jobName(context.env));
  if (saved.status === 'deferred')
    return ['the control plane did not answer, and nothing was attested: run this job again when it is back'];
  if (ending === undefined || saved.session === undefined) return [];
  const platform = ciPlatform(context, { bundlePath: undefined });
  const token = context.env.CHAINLOOP_TOKEN || undefined;
  const { runId } = saved;
  return [`Run ${runId}: ${await endRun({ ...saved.session, retryBudgetMs }, { platform, token }, { runId, ...ending })}`];
}

/** A job that ended before its attestation was begun: what it would have attested has failed, and a run says so. */
async function finishWithoutStep(context: Context, inputs: Inputs, jobStatus: JobStatus): Promise<readonly string[]> {
  const ending = failedJob(jobStatus, jobName(context.env));
  if (inputs.command !== 'attest' || inputs.dryRun || ending === undefined || forkOf(context.env) !== undefined) return [];
  return [`Run ${await recordFailure(context, inputs, ending)} is recorded as ${ending.state}: ${ending.reason}`];
}

async function recordFailure(context: Context, inputs: Inputs, ending: Ending): Promise<string> {
  const platform = ciPlatform(context, { bundlePath: undefined });
  const { controlPlane: url, organization, auth, audience, project, workflow, token } = inputs;
  const choice = { project, workflow };
  const session = await openSession({ url, organization, auth, audience, choice, retryBudgetMs }, { platform, token });
  const { createControlPlane } = await import('../client/control-plane.ts');
  const controlPlane = createControlPlane(await session.options());
  const { runId } = await controlPlane.init({ ...choice, runner: detectRunner(context.env), idempotencyKey: randomUUID() });
  await controlPlane.end({ runId, ...ending });
  return runId;
}

async function forgetCredential({ env }: Context, inputs: Inputs | undefined): Promise<void> {
  const source = ciTokenSource(env);
  if (source === undefined || inputs === undefined) return;
  const options = { url: inputs.controlPlane, organization: inputs.organization };
  await keepCredential({ env, source, workspace: process.cwd(), options, now: () => new Date() }).forget();
}

/** What GitLab (`timedout`), Azure Pipelines (`SucceededWithIssues`), Jenkins (`ABORTED`) and others call it. */
function statusOf(written: string): JobStatus {
  const word = written.toLowerCase().replaceAll(/[^a-z]/g, '');
  if (/^(success|succeeded|succeededwithissues|passed|unstable)$/.test(word)) return 'success';
  if (/^(cancell?ed|cancel|aborted)$/.test(word)) return 'cancelled';
  if (/^(timedout|timeout)$/.test(word)) return 'timeout';
  if (/^(failed|failure|error|notbuilt)$/.test(word)) return 'failure';
  throw new ChainloopError('USAGE', 'it is not known how the job ended; give --status success, failed, canceled or timedout');
}
