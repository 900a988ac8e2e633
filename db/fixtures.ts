import { randomUUID } from 'node:crypto';
import type { JobClaims } from '../core/claims.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import type { OrgScope } from './client.ts';
import type { RevisionContent } from './contracts.ts';
import { type Attested, openRun } from './run-states.ts';
import type { RunContext } from './runs.ts';
import { createWorkflow, type WorkflowRow } from './workflows.ts';

/** Rows for the tests of this folder. */

/** A contract that asks for nothing, and differs by its body. */
export function someContent(body = 'schemaVersion: v1'): RevisionContent {
  return { format: 'yaml', body, content: { materials: [], envAllowList: [], annotations: [] }, contentDigest: digestOf(body) };
}

/** With a contract of its own, or with that one. */
export function newWorkflow(scope: OrgScope, name = `w-${randomUUID()}`, project = 'bedrock', contract?: string): Promise<WorkflowRow> {
  return createWorkflow(scope, { name, project, team: 'core', contract: contract ?? { name, content: someContent() } });
}

export function openedRun(
  scope: OrgScope,
  workflowId: string,
  expiresAt = new Date('2099-01-01'),
  idempotencyKey: string = randomUUID(),
): Promise<RunContext> {
  return openRun(scope, { workflowId, runner: { authenticated: false }, idempotencyKey, expiresAt });
}

/** A bundle with two materials, that differs by its name. */
export function someAttested(
  name: string,
  artifact: Digest = digestOf(`artifact of ${name}`),
  effects: Attested['effects'] = [],
): Attested {
  return {
    bundleDigest: digestOf(`bundle ${name}`),
    bundleSizeBytes: 1234,
    statementDigest: digestOf(`statement ${name}`),
    predicateType: 'chainloop.dev/attestation/v0.2',
    signer: 'release',
    collected: false,
    effects,
    materials: [
      { name: 'commit', type: 'STRING', value: '9a96775d é \u0001 "quoted" {brace}', uploaded: false, annotations: {} },
      {
        name: 'server',
        type: 'ARTIFACT',
        digest: artifact,
        fileName: 'server.tar',
        sizeBytes: 5 * 2 ** 40,
        uploaded: true,
        annotations: { tier: 'gold, "quoted", \\back' },
      },
    ],
  };
}

/** What a CI system proved about a job. */
export const someClaims: JobClaims = {
  kind: 'gitlab',
  issuer: 'https://gitlab.com',
  repository: 'acme/app',
  repositoryId: '1',
  owner: 'acme',
  ownerId: '2',
  ref: 'refs/heads/main',
  commit: '9a96775da456e595f242bb9b5826cf46d8dd5d81',
  actor: 'alice',
  event: 'push',
  workflowRef: 'gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main',
  runnerEnvironment: 'gitlab-hosted',
  runId: '991',
  runUrl: 'https://gitlab.com/acme/app/-/pipelines/991',
  san: 'https://gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main',
  fulcio: {},
};
