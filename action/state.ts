import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as core from '@actions/core';
import type { Saved } from '../plugin/ending.ts';
import type { Outcome } from '../plugin/outcome.ts';
import type { SessionPlan } from '../plugin/session.ts';
import { reasonOf } from '../plugin/words.ts';
import { saveState } from './command-file.ts';

/** What a step leaves for its own end, after the job. Each name is written once. */
export type SavedStep = Saved & {
  /** Names the attestation among several of one job. */
  readonly what: string;
};

let knownRun = '';

export const saved = {
  /** `what` names the attestation among several of one job. */
  command(command: string, what: string): void {
    saveState('command', command);
    saveState('what', what);
  },
  session: (plan: SessionPlan): void => saveState('session', JSON.stringify(plan)),
  run(runId: string): void {
    if (runId === knownRun) return;
    knownRun = runId;
    saveState('run', runId);
  },
  outcome({ status, error, found }: Outcome, what: string): void {
    saveState('status', status);
    if (status === 'passed') markPassed(what);
    if (error === undefined) return;
    saveState('reason', reasonOf(error, found));
  },
};

export function readSaved(): SavedStep {
  return {
    command: core.getState('command'),
    what: core.getState('what'),
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

/** A step that was deferred is not mourned when a later one of the same job has pushed what it signed. */
function markPassed(what: string): void {
  const path = passedPath(what);
  if (path === undefined) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  writeFileSync(path, '');
}

export function hasPassed(what: string): boolean {
  const path = passedPath(what);
  return path !== undefined && existsSync(path);
}

function passedPath(what: string): string | undefined {
  const { RUNNER_TEMP } = process.env;
  return RUNNER_TEMP ? join(RUNNER_TEMP, 'chainloop', `passed-${Buffer.from(what).toString('hex')}`) : undefined;
}
