/** Who a job is, as a certificate says it: the SAN, a URI, and who vouches for it. Compared exactly, never by a pattern. */
export type JobIdentity = { readonly san: string; readonly issuer: string };

/** The CI systems whose tokens are understood, one file each in server/federation/. */
export const issuerKinds = ['github', 'gitlab'] as const;
export type IssuerKind = (typeof issuerKinds)[number];

/**
 * What a CI system's token proved about a job: the claims of GitHub and GitLab in one vocabulary. Ids are text, as they are compared.
 * Nothing here comes from the job itself.
 */
export type JobClaims = {
  readonly kind: IssuerKind;
  /** As in the token, and as in the server's configuration. */
  readonly issuer: string;
  /** `owner/name` (GitHub), the full path (GitLab): for people. The ids below are what counts. */
  readonly repository: string;
  readonly repositoryId: string;
  readonly owner: string;
  readonly ownerId: string;
  /** In full: `refs/heads/main`, `refs/tags/v1`, `refs/pull/1/merge`. */
  readonly ref: string;
  /** The commit that the run is of. */
  readonly commit: string;
  readonly actor: string;
  /** `event_name` (GitHub), `pipeline_source` (GitLab). */
  readonly event: string;
  /** The file that began the run, with repository and ref: `acme/app/.github/workflows/release.yml@refs/heads/main`. */
  readonly workflowRef: string;
  /** Its path, when the file is in the repository itself. */
  readonly workflowPath?: string | undefined;
  /** GitHub: the reusable workflow that holds the job, in the same form. The same as `workflowRef` when there is none. */
  readonly jobWorkflowRef?: string | undefined;
  readonly environment?: string | undefined;
  /** `github-hosted`, `gitlab-hosted` or `self-hosted`. */
  readonly runnerEnvironment: string;
  /** The CI run (GitHub), the pipeline (GitLab). */
  readonly runId: string;
  /** Counts from 1 (GitHub); GitLab does not say. */
  readonly runAttempt?: number | undefined;
  readonly jobId?: string | undefined;
  /** The page of the run. */
  readonly runUrl: string;
  /** The URI of the certificates of this job. */
  readonly san: string;
  /** Extensions of its certificates: the last number of each of Fulcio's OIDs (1.3.6.1.4.1.57264.1.*) and its text. */
  readonly fulcio: Readonly<Record<string, string>>;
};
