import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as core from '@actions/core';
import { isChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import { directoryOf } from './crafting.ts';
import { annotate, say } from './log.ts';
import { openSession, type SessionPlan } from './session.ts';
import { hasPassed, readSaved, type Saved } from './state.ts';

/** The runner waits 7.5 s after a cancellation; nobody should notice this at all. */
const patienceMs = 1_800;
const reasonLength = 256;
/** As client/run-credential.ts names them. */
const credentialPrefix = 'run-credential-';

type Ending = { readonly state: 'failed' | 'cancelled'; readonly reason: string };

/**
 * The end of the job: a run that was begun here and will not be pushed is ended, in words that tell a failed job from a cancelled one; the
 * credential is deleted; a push that was deferred is said once more. Never fails the job, and takes two seconds at most.
 */
export async function finish(jobStatus: string): Promise<void> {
  const saved = readSaved();
  if (saved.status === 'deferred' && !hasPassed(saved.what)) {
    annotate(
      'warning',
      'Chainloop: nothing was attested',
      'the control plane did not answer, and the attestation was deferred: run this job again when it is back',
    );
  }
  const { session: plan, runId } = saved;
  const ending = endingOf(saved, jobStatus, process.env);
  if (plan === undefined || ending === undefined) return forgetCredentials(process.env);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('the control plane did not answer in time'), patienceMs);
  });
  const told = await Promise.race([ended(plan, runId, ending), late]);
  clearTimeout(timer);
  say(`Run ${runId}: ${told}`);
  forgetCredentials(process.env);
  // A call that is still under way must not keep the job waiting.
  process.exit();
}

/** How the run ends with this job, if it does. */
export function endingOf({ command, status, reason, runId }: Saved, jobStatus: string, env: Env): Ending | undefined {
  if (runId === '') return undefined;
  const job = env.GITHUB_JOB ?? '';
  const cancelled: Ending = { state: 'cancelled', reason: `job ${job} was cancelled` };
  switch (command) {
    case 'attest':
      // Without a status the step was stopped on its way.
      if (status !== '' && status !== 'failed' && status !== 'violations') return undefined;
      if (jobStatus === 'cancelled') return cancelled;
      return { state: 'failed', reason: (reason || `job ${job} ended before it was attested`).slice(0, reasonLength) };
    case 'init':
      if (jobStatus === 'cancelled') return cancelled;
      return jobStatus === 'failure' ? { state: 'failed', reason: `job ${job} failed` } : undefined;
    default:
      return undefined;
  }
}

/** Ends the run; the answer is what to say about it. */
async function ended(plan: SessionPlan, runId: string, ending: Ending): Promise<string> {
  const { env } = process;
  const token = core.getInput('token') || env.CHAINLOOP_TOKEN || undefined;
  try {
    const session = await openSession({ ...plan, retryBudgetMs: 500 }, { env, token, workspace: directoryOf(env), mask: core.setSecret });
    const [{ createApi }, options] = await Promise.all([import('../client/api.ts'), session.options()]);
    await createApi(options).attestation.end.mutate({ runId, ...ending });
    return `recorded as ${ending.state}: ${ending.reason}`;
  } catch (error) {
    // Whoever pushed or ended it before has said how it ended.
    if (isChainloopError(error, 'RUN_ALREADY_FINISHED')) return 'it was over before';
    return `not recorded as ${ending.state}: ${error instanceof Error ? error.message : String(error)}; it expires by itself`;
  }
}

/** Credentials of this job, whichever step of it left them: the next one that needs one asks for another. */
function forgetCredentials({ RUNNER_TEMP }: Env): void {
  const folder = join(RUNNER_TEMP ?? '', 'chainloop');
  if (!RUNNER_TEMP || !existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (name.startsWith(credentialPrefix)) rmSync(join(folder, name), { recursive: true, force: true });
}
