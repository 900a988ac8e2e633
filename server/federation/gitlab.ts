import * as z from 'zod';
import type { JobClaims } from '../../core/claims.ts';
import { ChainloopError } from '../../core/errors.ts';
import { Commit, NumericId, pathAfter, Ref, Text, uri } from './claim.ts';
import type { Issuer } from './issuers.ts';

/** GitLab CI, "OpenID Connect ID token: token payload". `sub` is not read: projects may customise it. */
const Claims = z.object({
  project_id: NumericId,
  project_path: z.string().regex(/^[\w.-]{1,255}(\/[\w.-]{1,255}){1,20}$/, 'must be group/project'),
  namespace_id: NumericId,
  namespace_path: z.string().regex(/^[\w.-]{1,255}(\/[\w.-]{1,255}){0,20}$/, 'must be a group'),
  /** Where the job runs. */
  job_project_id: NumericId,
  user_login: Text,
  pipeline_id: NumericId,
  pipeline_source: Text,
  job_id: NumericId,
  ref: Text,
  ref_type: z.enum(['branch', 'tag']),
  ref_path: Ref.optional(),
  environment: Text.optional(),
  runner_environment: Text,
  sha: Commit,
  ci_config_ref_uri: Text,
  ci_config_sha: Commit.optional(),
  project_visibility: Text.optional(),
});

/**
 * The claims of a verified GitLab token. Throws a ZodError that names every claim that is missing or malformed, NO_BINDING for the
 * pipeline of a fork.
 */
export function gitlabClaims({ issuer, serverUrl }: Issuer, payload: unknown): JobClaims {
  const claims = Claims.parse(payload);
  const { project_path: repository, namespace_path: owner } = claims;
  // In the pipeline of a fork's merge request project_id is the fork, and the job runs in the project that it was forked from.
  if (claims.project_id !== claims.job_project_id) {
    throw new ChainloopError(
      'NO_BINDING',
      `token: project_id is ${claims.project_id}, and the job runs in project ${claims.job_project_id}: the pipeline of a fork may not attest`,
    );
  }
  const host = serverUrl.replace(/^https?:\/\//, '');
  const ref = claims.ref_path ?? `refs/${claims.ref_type === 'tag' ? 'tags' : 'heads'}/${claims.ref}`;
  // It is null when the configuration is of another project; then there is nothing that the certificate could name.
  const prefix = `${host}/${repository}//`;
  const workflowPath = pathAfter(prefix, claims.ci_config_ref_uri, ref);
  if (workflowPath === undefined) {
    throw new ChainloopError(
      'NO_BINDING',
      `token: ci_config_ref_uri must be ${prefix} with a file and its ref: a configuration from elsewhere may not attest`,
    );
  }
  const san = uri(serverUrl, claims.ci_config_ref_uri.slice(host.length + 1));
  return {
    kind: 'gitlab',
    issuer,
    repository,
    repositoryId: claims.project_id,
    owner,
    ownerId: claims.namespace_id,
    ref,
    commit: claims.sha,
    actor: claims.user_login,
    event: claims.pipeline_source,
    workflowRef: claims.ci_config_ref_uri,
    workflowPath,
    ...(claims.environment !== undefined && { environment: claims.environment }),
    runnerEnvironment: claims.runner_environment,
    runId: claims.pipeline_id,
    jobId: claims.job_id,
    runUrl: uri(serverUrl, `${repository}/-/pipelines/${claims.pipeline_id}`),
    san,
    // Fulcio, "OID info", "Mapping OIDC token claims to Fulcio OIDs".
    fulcio: {
      8: issuer,
      9: san,
      ...(claims.ci_config_sha !== undefined && { 10: claims.ci_config_sha }),
      11: claims.runner_environment,
      12: uri(serverUrl, repository),
      13: claims.sha,
      14: ref,
      15: claims.project_id,
      16: uri(serverUrl, owner),
      17: claims.namespace_id,
      18: san,
      ...(claims.ci_config_sha !== undefined && { 19: claims.ci_config_sha }),
      20: claims.pipeline_source,
      21: uri(serverUrl, `${repository}/-/jobs/${claims.job_id}`),
      ...(claims.project_visibility !== undefined && { 22: claims.project_visibility }),
      ...(claims.environment !== undefined && { 23: claims.environment }),
    },
  };
}
