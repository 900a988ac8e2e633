import { own } from '../core/material/document.ts';
import type { Env } from '../core/runner.ts';

/** What is known of the event, as `@actions/github` reads it. */
export type Event = { readonly eventName: string; readonly actor: string; readonly payload: unknown };

/**
 * Why GitHub gives this job neither a token nor secrets, whatever its permissions say: a pull request from a fork, or one of Dependabot,
 * which is treated as such. Undefined for every other job, and for those that have a token.
 */
export function withoutCredentials({ eventName, actor, payload }: Event, env: Env): string | undefined {
  if (env.ACTIONS_ID_TOKEN_REQUEST_URL) return undefined;
  if (!eventName.startsWith('pull_request')) return undefined;
  const pullRequest = own(payload, 'pull_request');
  const id = (repository: unknown): unknown => own(repository, 'id');
  const head = own(own(pullRequest, 'head'), 'repo');
  const base = own(own(pullRequest, 'base'), 'repo') ?? own(payload, 'repository');
  // The repository of a fork may be gone by now.
  if (pullRequest !== undefined && id(head) !== id(base)) return 'This is a pull request from a fork';
  return actor === 'dependabot[bot]' ? 'This is a pull request of Dependabot' : undefined;
}
