import type { JobClaims } from './claims.ts';
import { statementType } from './statement/schema.ts';
import type { VerdictSubject } from './verdict.ts';

/** SLSA v1.2, "Build: Provenance". */
const provenancePredicateType = 'https://slsa.dev/provenance/v1';

/** A run of a CI system as its token proves it: docs/verdicts.md says what the parameters mean. */
const ciRunBuildType = 'https://chainloop.dev/buildtypes/ci-run/v1';

/** What provenance is made of: claims that were verified, and times of the control plane. */
export type ProvenanceFacts = {
  readonly claims: JobClaims;
  /** When the run was opened, and when it was accepted. */
  readonly startedAt: Date;
  readonly finishedAt: Date;
  readonly subjects: readonly VerdictSubject[];
};

/**
 * The bytes of a provenance statement, to be signed: JSON without white space. Every field is from the claims that the CI system proved, or
 * the control plane's own; the same facts give the same bytes.
 */
export function buildProvenance({ claims, startedAt, finishedAt, subjects }: ProvenanceFacts): Uint8Array {
  // Fulcio, "OID info", 1.3.6.1.4.1.57264.1.12, Source Repository URI.
  const repository = claims.fulcio[12] ?? claims.repository;
  const statement = {
    _type: statementType,
    subject: subjects.map(({ name, digest }) => ({ name, digest })),
    predicateType: provenancePredicateType,
    predicate: {
      buildDefinition: {
        buildType: ciRunBuildType,
        externalParameters: { repository, ref: claims.ref, workflow: claims.workflowRef },
        internalParameters: {
          event: claims.event,
          issuer: claims.issuer,
          ownerId: claims.ownerId,
          repositoryId: claims.repositoryId,
          runnerEnvironment: claims.runnerEnvironment,
        },
        resolvedDependencies: [{ uri: `git+${repository}@${claims.ref}`, digest: { gitCommit: claims.commit } }],
      },
      runDetails: {
        builder: { id: claims.san },
        metadata: { invocationId: claims.runUrl, startedOn: startedAt.toISOString(), finishedOn: finishedAt.toISOString() },
      },
    },
  };
  return new Uint8Array(Buffer.from(JSON.stringify(statement)));
}
