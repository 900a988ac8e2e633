import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as core from '@actions/core';
import type { Env } from '../core/runner.ts';
import { endingOf, jobStatuses } from '../plugin/ending.ts';
import { annotate, say } from './log.ts';
import { hasPassed, readSaved } from './state.ts';

/** The runner waits 7.5 s after a cancellation; nobody should notice this at all. */
const patienceMs = 1_800;
/** All calls together have less. */
const retryBudgetMs = 500;
/** As client/run-credential.ts names them. */
const credentialPrefix = 'run-credential-';

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
  const status = jobStatuses.find((known) => known === jobStatus) ?? 'failure';
  const ending = endingOf(saved, status, process.env.GITHUB_JOB ?? '');
  if (plan === undefined || ending === undefined) return forgetCredentials(process.env);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('the control plane did not answer in time'), patienceMs);
  });
  const { endRun, github } = await import('./perform.ts');
  const token = core.getInput('token') || process.env.CHAINLOOP_TOKEN || undefined;
  const told = await Promise.race([endRun({ ...plan, retryBudgetMs }, { platform: github(), token }, { runId, ...ending }), late]);
  clearTimeout(timer);
  say(`Run ${runId}: ${told}`);
  forgetCredentials(process.env);
  // A call that is still under way must not keep the job waiting.
  process.exit();
}

/** Credentials of this job, whichever step of it left them: the next one that needs one asks for another. */
function forgetCredentials({ RUNNER_TEMP }: Env): void {
  const folder = join(RUNNER_TEMP ?? '', 'chainloop');
  if (!RUNNER_TEMP || !existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (name.startsWith(credentialPrefix)) rmSync(join(folder, name), { recursive: true, force: true });
}
