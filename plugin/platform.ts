import type { ChainloopError } from '../core/errors.ts';
import type { Env } from '../core/runner.ts';
import type { SessionPlan } from './session.ts';

/** What differs between the CI systems that a plugin works in: how it speaks to people, and what things are called there. */
export type Platform = {
  readonly env: Env;
  /** The checkout. Paths in the inputs are of files in it. */
  readonly directory: string;
  /** The program, as the control plane's log and the statement have it: `action`, `cli`. */
  readonly program: string;
  readonly version: string;
  /** What signs that it made the statement. */
  builderId(): Promise<string>;
  /** Where the bundle is written unless somebody says otherwise; undefined: nowhere. */
  readonly bundlePath: string | undefined;
  /** The address of the repository, as certificates for its jobs say it. */
  readonly repository: string | undefined;
  /** What project and workflow are called unless somebody says otherwise. */
  readonly project: string | undefined;
  readonly workflow: string | undefined;
  /** The job has neither a token of its CI system nor another. */
  withoutToken(plan: Pick<SessionPlan, 'auth' | 'url'>): ChainloopError;
  /** Keeps a text out of the log of the job. Called before a credential is used for anything. */
  mask(secret: string): void;
  /** Lines of log, of text that anybody may have written. */
  say(text: string): void;
  /** Lines that can be folded away. */
  group<T>(title: string, run: () => Promise<T>): Promise<T>;
  /** Runs a part of the work, and takes its time. */
  timed<T>(part: string, run: () => Promise<T>): Promise<T>;
};
