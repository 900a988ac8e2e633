import { dryRun } from './dry-run.ts';
import type { Inputs } from './inputs.ts';
import type { Found, Status } from './outcome.ts';
import type { Platform } from './platform.ts';
import { openSession, type SessionPlan } from './session.ts';
import { work } from './work.ts';

// What a step needs that has something to do. One file, loaded by who gets that far.

/** What the end of the job has to know, told as soon as it is known. */
export type Memory = {
  session(plan: SessionPlan): void;
  run(runId: string): void;
};

/** Does what the step is asked to do, as the job that its CI system says it is. */
export async function attested(inputs: Inputs, platform: Platform, memory: Memory, found: Found): Promise<Status> {
  const plan = {
    url: inputs.controlPlane,
    organization: inputs.organization,
    auth: inputs.auth,
    audience: inputs.audience,
    choice: { project: inputs.project, workflow: inputs.workflow },
    retryBudgetMs: inputs.retryTimeoutMs,
  };
  const session = await platform.timed('exchange', () => openSession(plan, { platform, token: inputs.token }));
  memory.session(session.plan);
  return work(inputs, { platform, session, opened: memory.run }, found);
}

/** Finds out what the step would attest, and asks nobody. */
export async function tried(inputs: Inputs, platform: Platform, found: Found): Promise<void> {
  await dryRun(inputs, platform, found);
}
