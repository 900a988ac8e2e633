import type { SessionPlan } from './session.ts';

/** What a step leaves for the end of its job. Nothing in it is secret. */
export type Saved = {
  readonly command: string;
  readonly session: SessionPlan | undefined;
  /** Empty when no run was begun. */
  readonly runId: string;
  /** How the step ended; empty when it did not come to its end. */
  readonly status: string;
  /** Why it failed, for who looks at the run. */
  readonly reason: string;
};

/** How a job ended, whatever its CI system calls that. */
export const jobStatuses = ['success', 'failure', 'cancelled', 'timeout'] as const;
export type JobStatus = (typeof jobStatuses)[number];

export type Ending = { readonly state: 'failed' | 'cancelled'; readonly reason: string };

const reasonLength = 256;

/** How the run ends with the job, which is called `job`, if it does. */
export function endingOf({ command, status, reason, runId }: Saved, jobStatus: JobStatus, job: string): Ending | undefined {
  if (runId === '') return undefined;
  switch (command) {
    case 'attest':
      // Without a status the step was stopped on its way.
      if (status !== '' && status !== 'failed' && status !== 'violations') return undefined;
      if (jobStatus === 'cancelled') return cancelled(job);
      if (reason !== '') return { state: 'failed', reason: reason.slice(0, reasonLength) };
      return jobStatus === 'timeout' ? failedJob(jobStatus, job) : failed(`job ${job} ended before it was attested`);
    case 'init':
      return failedJob(jobStatus, job);
    default:
      return undefined;
  }
}

/** The same for a job that did not come to the step. */
export function failedJob(jobStatus: JobStatus, job: string): Ending | undefined {
  switch (jobStatus) {
    case 'success':
      return undefined;
    case 'failure':
      return failed(`job ${job} failed`);
    case 'timeout':
      return failed(`job ${job} took too long`);
    case 'cancelled':
      return cancelled(job);
  }
}

function failed(reason: string): Ending {
  return { state: 'failed', reason: reason.slice(0, reasonLength) };
}

function cancelled(job: string): Ending {
  return { state: 'cancelled', reason: `job ${job} was cancelled`.slice(0, reasonLength) };
}
