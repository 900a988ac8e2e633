import type { JobClaims } from './claims.ts';

/** What is recorded of how a run was built: verified by the control plane, or its own. */
export type BuildFacts = {
  /** What the CI system proved about the job that the run was opened for; null: nothing. */
  readonly claims: JobClaims | null;
  /** `job`: with a certificate that names that very job. `other`: with one of another identity that the organization trusts. */
  readonly signedBy: 'key' | 'job' | 'other';
  /**
   * `jobWorkflowRef` of each job that brought evidence before the push; null: unknown. What the push itself brings, the job that signs
   * brings.
   */
  readonly broughtIn: readonly (string | null)[];
};

/** A level of SLSA's build track, and why it is not the next one: sentences, none at level 3. */
export type BuildLevel = { readonly level: 1 | 2 | 3; readonly reasons: readonly string[] };

/**
 * The level of SLSA v1.2, "Build: Track Basics", that a run reaches. 1: it is known how it was built, by the job's own word. 2: its CI
 * system proved which job built it, and that job signed. 3: that job is of a reusable workflow of another repository, pinned by its
 * commit, on a machine of the CI system, and brought everything itself: whoever may change what is built cannot change how.
 */
export function buildLevel(facts: BuildFacts): BuildLevel {
  const { claims, signedBy } = facts;
  if (claims === null) {
    return { level: 1, reasons: ['Only the job itself says where it ran: it was not let in by a token of its CI system.'] };
  }
  switch (signedBy) {
    case 'key':
      return { level: 1, reasons: ['It is signed with a key, which others than the job may have, and not with a certificate of the job.'] };
    case 'other':
      return { level: 1, reasons: ['It is signed by another identity than that of the job, which this organization trusts.'] };
    case 'job': {
      const reasons = capsAtTwo(claims, facts.broughtIn);
      return { level: reasons.length === 0 ? 3 : 2, reasons };
    }
  }
}

function capsAtTwo(claims: JobClaims, broughtIn: BuildFacts['broughtIn']): string[] {
  const { kind, repository, workflowRef, jobWorkflowRef, runnerEnvironment } = claims;
  const hosted = `${kind}-hosted`;
  const runner =
    runnerEnvironment === hosted ? [] : [`It ran on a runner that is ${runnerEnvironment}: nobody vouches that it was not tampered with.`];
  if (kind === 'gitlab') return ['GitLab does not prove that the job is of a configuration which is pinned by its commit.', ...runner];
  if (jobWorkflowRef === undefined || jobWorkflowRef === workflowRef) {
    return ['The job is not of a reusable workflow: whoever may change what is built may change how.', ...runner];
  }
  const own = jobWorkflowRef.toLowerCase().startsWith(`${repository.toLowerCase()}/`);
  // Fulcio, "OID info", 1.3.6.1.4.1.57264.1.10, Build Signer Digest: the commit that the reusable workflow was taken from.
  const commit = claims.fulcio[10];
  // A branch may be called `x@<commit>`: nothing but the file stands before the one @.
  const [, ref, ...more] = jobWorkflowRef.split('@');
  const pinned = ref !== undefined && ref === commit && more.length === 0;
  return [
    ...(own ? ['The reusable workflow is in the repository that is built: whoever may change what is built may change how.'] : []),
    ...(pinned ? [] : [`The reusable workflow is not pinned by its commit, so that it may be another one tomorrow: ${jobWorkflowRef}`]),
    ...runner,
    ...(broughtIn.every((ref) => ref === jobWorkflowRef) ? [] : ['Jobs outside of the reusable workflow brought evidence.']),
  ];
}
