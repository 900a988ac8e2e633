import type { RunnerContext } from './crafting.ts';
import { limits } from './limits.ts';
import type { RunnerType } from './names.ts';
import { type Env, type RunnerRow, runners } from './runner/table.ts';

export type { Env } from './runner/table.ts';

/** The longest URL and path that the control plane records (core/wire.ts, `attestationInit`). */
const urlLength = 2048;
const pathLength = 1024;
const environmentLength = 256;

/**
 * Where this process runs, from its environment alone: everything in it is self-reported (`authenticated: false`). Without a CI system
 * that we know, only that. What is malformed is left out rather than recorded: a URL with credentials in it, or of another scheme than
 * http and https.
 */
export function detectRunner(env: Env): RunnerContext {
  const row = rowOf(env);
  if (row === undefined) return { authenticated: false };
  const url = webUrl(row.url(env));
  const environment = capped(row.environment?.(env), environmentLength);
  const workflowFilePath = capped(row.workflowFilePath?.(env), pathLength);
  return {
    type: row.type,
    ...(url === undefined ? {} : { url }),
    ...(environment === undefined ? {} : { environment }),
    ...(workflowFilePath === undefined ? {} : { workflowFilePath }),
    authenticated: false,
  };
}

/** The names of the variables that are recorded for a CI system besides those of the contract, as far as they are set. */
export function runnerVariables(type: RunnerType | undefined): readonly string[] {
  return runners.find((row) => row.type === type)?.variables ?? [];
}

/** What tells one CI job from all others on the same machine, today and tomorrow; empty outside of CI. */
export function jobKey(env: Env): readonly string[] {
  const row = rowOf(env);
  return row === undefined ? [] : [row.type, ...row.job.map((name) => env[name] ?? '')];
}

/** What the CI job is called, for people; empty where that is not known. */
export function jobName(env: Env): string {
  const name = rowOf(env)?.jobName;
  return capped(name === undefined ? undefined : env[name], limits.textLength) ?? '';
}

/** The folder that the CI system checks out into: one for all steps of a job, wherever each of them is run. */
export function jobWorkspace(env: Env): string | undefined {
  const name = rowOf(env)?.workspace;
  return name === undefined ? undefined : env[name];
}

/** The CI system as people read it: `Github action`; `unspecified` when there is none. */
export function displayRunnerType(type: RunnerType | null | undefined): string {
  return runners.find((row) => row.type === type)?.label ?? 'unspecified';
}

function rowOf(env: Env): RunnerRow | undefined {
  return runners.find((row) => row.recognise(env));
}

function webUrl(text: string | undefined): string | undefined {
  if (text === undefined || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return undefined;
  if (url.username !== '' || url.password !== '') return undefined;
  return url.href.length <= urlLength ? url.href : undefined;
}

function capped(text: string | undefined, length: number): string | undefined {
  const trimmed = text?.trim();
  return trimmed === undefined || trimmed === '' || trimmed.length > length ? undefined : trimmed;
}
