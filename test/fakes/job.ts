import { randomUUID } from 'node:crypto';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Api } from '../../client/api.ts';
import { createControlPlane } from '../../client/control-plane.ts';
import { files } from '../../core/adapters/files.ts';
import { generateKeyPair, loadSigner } from '../../core/adapters/keys.ts';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { createEvidenceStore } from '../../core/adapters/oci/evidence-store.ts';
import { buildBundle } from '../../core/bundle.ts';
import type { CraftedMaterial, CraftingStart, RunnerContext } from '../../core/crafting.ts';
import { pae, statementPayloadType } from '../../core/dsse.ts';
import type { InitAnswer, PushAnswer, Signer } from '../../core/ports.ts';
import { buildStatement } from '../../core/statement.ts';

/** What a job does, without the command line: it signs and uploads for real. */
export type Job = {
  readonly signer: Signer;
  readonly publicKeyPem: string;
  /** A run, as `attestation init` opens it. */
  init(options?: { readonly idempotencyKey?: string; readonly runner?: RunnerContext }): Promise<InitAnswer>;
  /** Evidence through the gateway, as `attestation add` brings it. */
  upload(name: string, content: string, type?: CraftedMaterial['type']): Promise<CraftedMaterial>;
  /** The signed bundle of a run; `change` may lie about anything before it is signed. */
  bundle(
    run: InitAnswer,
    materials: readonly CraftedMaterial[],
    change?: { readonly start?: Partial<CraftingStart>; readonly text?: (statement: string) => string; readonly signer?: Signer },
  ): Promise<string>;
  push(run: InitAnswer, bundle: string): Promise<PushAnswer>;
};

export const jobRunner: RunnerContext = {
  type: 'GITHUB_ACTION',
  url: 'https://github.com/acme/app/actions/runs/1/attempts/1',
  authenticated: false,
};

/** A contract of everything that the referee looks at. */
export const jobContract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
  - { type: ARTIFACT, name: notes, optional: true }
envAllowList: [CUSTOM_VAR]
runner: { type: GITHUB_ACTION }
annotations: [{ name: severity }]
`;

/** A job of the control plane with a new key; `trustedBy` registers it. */
export async function startJob(options: {
  readonly url: string;
  readonly organization: string;
  readonly token: string;
  readonly trustedBy?: Api | undefined;
  readonly retryBudgetMs?: number | undefined;
}): Promise<Job> {
  const { url, organization, token, retryBudgetMs = 2_000 } = options;
  const { signer, publicKeyPem } = await newSigner();
  await options.trustedBy?.key.trust.mutate({ name: `key-${randomUUID().slice(0, 8)}`, pem: publicKeyPem });
  const controlPlane = createControlPlane({ url, token, retryBudgetMs });
  return {
    signer,
    publicKeyPem,
    init: ({ idempotencyKey = randomUUID(), runner = jobRunner } = {}) => controlPlane.init({ runner, idempotencyKey }),
    async upload(name, content, type = 'ARTIFACT') {
      await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-job-'));
      const path = join(folder.path, `${name}.txt`);
      await writeFile(path, content);
      const client = createRegistryClient({ origin: url, repository: organization, credentials: { type: 'bearer', token } });
      try {
        await using file = await files.open(path);
        const { digest, sizeBytes } = await createEvidenceStore({ client }).upload(file);
        return { name, type, digest, sizeBytes, fileName: `${name}.txt`, uploaded: true, annotations: {} };
      } finally {
        client.close();
      }
    },
    async bundle(run, materials, change = {}) {
      const start = { ...startOf(run, url), ...change.start };
      const origin = { finishedAt: new Date('2026-11-23T09:00:00Z'), builderId: 'chainloop.dev/cli/test@sha256:00' };
      const bytes = buildStatement({ type: 'sealed', start, materials }, origin);
      const payload = change.text === undefined ? bytes : new Uint8Array(Buffer.from(change.text(Buffer.from(bytes).toString())));
      return signBundle(payload, statementPayloadType, change.signer ?? signer);
    },
    push: (run, bundle) => controlPlane.push({ runId: run.runId, bundle }),
  };
}

/** The bundle of any payload. */
export async function signBundle(payload: Uint8Array, payloadType: string, signer: Signer): Promise<string> {
  return buildBundle({ payload, payloadType, ...(await signer.sign(pae(payloadType, payload))) });
}

/** A new key and its signer. */
export async function newSigner(): Promise<{ readonly signer: Signer; readonly publicKeyPem: string }> {
  const { privateKeyPem, publicKeyPem } = await generateKeyPair();
  return { signer: await loadSigner('env://KEY', { env: { KEY: privateKeyPem } }), publicKeyPem };
}

/** A STRING material. */
export function text(name: string, value: string): CraftedMaterial {
  return { name, type: 'STRING', value, uploaded: false, annotations: {} };
}

function startOf(run: InitAnswer, url: string): CraftingStart {
  const { runId, organization, project, team, workflowId, workflowName, contractName, contractRevision, contract, initializedAt } = run;
  return {
    version: 1,
    identity: { runId, organization, project, team, workflowId, workflowName, contractName, contractRevision },
    contract,
    runner: jobRunner,
    env: { CUSTOM_VAR: 'value', GITHUB_SHA: '9a96775da456e595f242bb9b5826cf46d8dd5d81' },
    initializedAt,
    dryRun: false,
    controlPlane: url,
    annotations: { severity: 'low' },
  };
}
