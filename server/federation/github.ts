import * as z from 'zod';
import type { JobClaims } from '../../core/claims.ts';
import { Commit, NumericId, pathAfter, Ref, Text, uri } from './claim.ts';
import type { Issuer } from './issuers.ts';

/**
 * GitHub Actions, "OpenID Connect reference". `sub` is not read: its format changed in July 2026, and owners may customise it; the
 * ids and the other claims say the same, each by itself.
 */
const Claims = z.object({
  repository: z.string().regex(/^[\w.-]{1,100}\/[\w.-]{1,100}$/, 'must be owner/name'),
  repository_id: NumericId,
  repository_owner: z.string().regex(/^[\w.-]{1,100}$/),
  repository_owner_id: NumericId,
  repository_visibility: Text.optional(),
  ref: Ref,
  sha: Commit,
  actor: Text,
  event_name: Text,
  workflow_ref: Text,
  workflow_sha: Commit,
  job_workflow_ref: Text,
  job_workflow_sha: Commit,
  environment: Text.optional(),
  runner_environment: Text,
  run_id: NumericId,
  run_attempt: NumericId,
  check_run_id: NumericId.optional(),
});

/** The claims of a verified GitHub token. Throws a ZodError that names every claim that is missing or malformed. */
export function githubClaims({ issuer, serverUrl }: Issuer, payload: unknown): JobClaims {
  const claims = Claims.parse(payload);
  const { repository, repository_owner: owner } = claims;
  const runUrl = uri(serverUrl, `${repository}/actions/runs/${claims.run_id}/attempts/${claims.run_attempt}`);
  // As Fulcio does it: the certificate names the workflow that holds the job, be it the caller's or a reusable one.
  const san = uri(serverUrl, claims.job_workflow_ref);
  const workflowPath = pathAfter(`${repository}/`, claims.workflow_ref, claims.ref);
  return {
    kind: 'github',
    issuer,
    repository,
    repositoryId: claims.repository_id,
    owner,
    ownerId: claims.repository_owner_id,
    ref: claims.ref,
    commit: claims.sha,
    actor: claims.actor,
    event: claims.event_name,
    workflowRef: claims.workflow_ref,
    ...(workflowPath !== undefined && { workflowPath }),
    jobWorkflowRef: claims.job_workflow_ref,
    ...(claims.environment !== undefined && { environment: claims.environment }),
    runnerEnvironment: claims.runner_environment,
    runId: claims.run_id,
    runAttempt: Number(claims.run_attempt),
    ...(claims.check_run_id !== undefined && { jobId: claims.check_run_id }),
    runUrl,
    san,
    // Fulcio, "OID info", "Mapping OIDC token claims to Fulcio OIDs".
    fulcio: {
      8: issuer,
      9: san,
      10: claims.job_workflow_sha,
      11: claims.runner_environment,
      12: uri(serverUrl, repository),
      13: claims.sha,
      14: claims.ref,
      15: claims.repository_id,
      16: uri(serverUrl, owner),
      17: claims.repository_owner_id,
      18: uri(serverUrl, claims.workflow_ref),
      19: claims.workflow_sha,
      20: claims.event_name,
      21: runUrl,
      ...(claims.repository_visibility !== undefined && { 22: claims.repository_visibility }),
      ...(claims.environment !== undefined && { 23: claims.environment }),
    },
  };
}
