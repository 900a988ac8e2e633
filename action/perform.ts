import * as core from '@actions/core';
import { dryRun } from './dry-run.ts';
import { directoryOf, type Inputs } from './inputs.ts';
import { say, timed } from './log.ts';
import type { Found, Status } from './outcome.ts';
import { openSession } from './session.ts';
import { saved } from './state.ts';
import { work } from './work.ts';

// What a step needs that has something to do, at either end. One file, loaded by who gets that far.

export { endRun } from './ending.ts';

/** Does what the step is asked to do, as the job that GitHub says it is. */
export async function attested(inputs: Inputs, found: Found): Promise<Status> {
  const { env } = process;
  const plan = {
    url: inputs.controlPlane,
    organization: inputs.organization,
    auth: inputs.auth,
    audience: inputs.audience,
    choice: { project: inputs.project, workflow: inputs.workflow },
    retryBudgetMs: inputs.retryTimeoutMs,
  };
  const session = await timed('exchange', () =>
    openSession(plan, {
      env,
      token: inputs.token,
      workspace: directoryOf(env),
      mask: core.setSecret,
      onRetry: ({ attempt, elapsedMs, budgetMs }) =>
        say(`retrying (attempt ${attempt + 1}, ${Math.round(elapsedMs / 1000)} s of ${Math.round(budgetMs / 1000)} s)`),
    }),
  );
  saved.session(session.plan);
  return work(inputs, { env, session, opened: saved.run }, found);
}

/** Finds out what the step would attest, and asks nobody. */
export async function tried(inputs: Inputs, found: Found): Promise<void> {
  await dryRun(inputs, process.env, found);
}
