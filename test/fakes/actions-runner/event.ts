import { githubJob } from '../issuer.ts';
import type { Value } from './expression.ts';

/** The `github` context of a run, but for what belongs to a job or step. */
export type GithubContext = { readonly [key: string]: Value };

const server = { server_url: 'https://github.com', api_url: 'https://api.github.com', graphql_url: 'https://api.github.com/graphql' };

/** A push to main of acme/app. */
export function pushEvent(change: GithubContext = {}): GithubContext {
  const { repository, repository_id, repository_owner, repository_owner_id, sha, ref, actor, actor_id } = githubJob;
  return {
    ...{ ...server, repository, repository_id, repository_owner, repository_owner_id, sha, ref, actor, actor_id },
    triggering_actor: actor,
    repositoryUrl: `git://github.com/${repository}.git`,
    ref_name: 'main',
    ref_type: 'branch',
    ref_protected: true,
    base_ref: '',
    head_ref: '',
    event_name: 'push',
    event: {
      ref,
      after: sha,
      repository: { id: Number(repository_id), full_name: repository, fork: false, default_branch: 'main', visibility: 'private' },
    },
    workflow: githubJob.workflow,
    workflow_ref: githubJob.workflow_ref,
    workflow_sha: githubJob.workflow_sha,
    run_id: githubJob.run_id,
    run_number: githubJob.run_number,
    run_attempt: githubJob.run_attempt,
    retention_days: '90',
    token: 'ghs_0123456789abcdefghijABCDEFGHIJ012345',
    ...change,
  };
}

/** A push of a tag. */
export function tagEvent(tag = 'v1.4.0', change: GithubContext = {}): GithubContext {
  const ref = `refs/tags/${tag}`;
  return pushEvent({
    ref,
    ref_name: tag,
    ref_type: 'tag',
    ref_protected: false,
    event: { ref, after: githubJob.sha },
    workflow_ref: `acme/app/.github/workflows/release.yml@${ref}`,
    ...change,
  });
}

/** A pull request, of a branch or from a fork. The checked out commit is GitHub's merge of both. */
export function pullRequestEvent({ fork }: { readonly fork: boolean }, change: GithubContext = {}): GithubContext {
  const repository = { id: Number(githubJob.repository_id), full_name: 'acme/app', fork: false };
  const head = { ref: 'topic', sha: 'b'.repeat(40), repo: fork ? { id: 31_337, full_name: 'mallory/app', fork } : repository };
  const base = { ref: 'main', sha: 'c'.repeat(40), repo: repository };
  return pushEvent({
    event_name: 'pull_request',
    ref: 'refs/pull/7/merge',
    ref_name: '7/merge',
    ref_protected: false,
    head_ref: 'topic',
    base_ref: 'main',
    event: { action: 'opened', number: 7, pull_request: { number: 7, head, base }, repository },
    workflow_ref: 'acme/app/.github/workflows/release.yml@refs/pull/7/merge',
    ...change,
  });
}

/** The claims of a job's token ("OpenID Connect reference"); `sub` in the immutable form of July 2026. */
export function claimsOf(
  github: GithubContext,
  job: { readonly checkRunId: number; readonly environment?: string | undefined; readonly workflowRef?: string | undefined },
): Readonly<Record<string, unknown>> {
  const text = (key: string): string => String(github[key] ?? '');
  const repository = `${text('repository_owner')}@${text('repository_owner_id')}/${text('repository').split('/')[1]}@${text('repository_id')}`;
  const context =
    job.environment !== undefined
      ? `environment:${job.environment}`
      : github.event_name === 'pull_request'
        ? 'pull_request'
        : `ref:${text('ref')}`;
  const same = ['repository', 'repository_id', 'repository_owner', 'repository_owner_id', 'ref', 'ref_type', 'base_ref', 'head_ref', 'sha'];
  const more = ['actor', 'actor_id', 'event_name', 'workflow', 'workflow_ref', 'workflow_sha', 'run_id', 'run_number', 'run_attempt'];
  return {
    ...Object.fromEntries([...same, ...more].map((key) => [key, text(key)])),
    ref_protected: text('ref_protected'),
    repository_visibility: 'private',
    job_workflow_ref: job.workflowRef ?? text('workflow_ref'),
    job_workflow_sha: text('workflow_sha'),
    runner_environment: 'github-hosted',
    check_run_id: String(job.checkRunId),
    sub: `repo:${repository}:${context}`,
    ...(job.environment !== undefined && { environment: job.environment }),
  };
}
