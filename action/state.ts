import * as core from '@actions/core';
import type { Outcome } from './outcome.ts';
import type { SessionPlan } from './session.ts';
import { reasonOf } from './words.ts';

/** What a step leaves for its own end, after the job. Nothing in it is secret; each name is written once. */
export type Saved = {
  readonly command: string;
  readonly session: SessionPlan | undefined;
  readonly runId: string;
  /** The status, or nothing when the step did not come to its end. */
  readonly status: string;
  /** Why it failed, for who looks at the run. */
  readonly reason: string;
};

let knownRun = '';

export const saved = {
  command: (command: string): void => core.saveState('command', command),
  session: (plan: SessionPlan): void => core.saveState('session', plan),
  run(runId: string): void {
    if (runId === knownRun) return;
    knownRun = runId;
    core.saveState('run', runId);
  },
  outcome({ status, error, found }: Outcome): void {
    core.saveState('status', status);
    if (error === undefined) return;
    core.saveState('reason', reasonOf(error, found));
  },
};

export function readSaved(): Saved {
  return {
    command: core.getState('command'),
    session: sessionOf(core.getState('session')),
    runId: core.getState('run'),
    status: core.getState('status'),
    reason: core.getState('reason'),
  };
}

/** Written by this very step: only its shape is looked at. */
function sessionOf(text: string): SessionPlan | undefined {
  if (text === '') return undefined;
  const plan: SessionPlan = JSON.parse(text);
  return plan;
}
