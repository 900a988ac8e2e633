import assert from 'node:assert/strict';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gate } from '../../cli/gate.ts';
import { createKeylessPorts } from '../../client/signing.ts';
import { createKeylessSigner } from '../../core/adapters/keyless.ts';
import { parseBundle } from '../../core/bundle.ts';
import type { CraftedMaterial } from '../../core/crafting.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { statementPayloadType } from '../../core/dsse.ts';
import type { Signer } from '../../core/ports.ts';
import { parseStatement } from '../../core/statement.ts';
import { buildVsa, type VerdictFacts, verdictSubjects, verifierOf } from '../../core/verdict.ts';
import type { Kind } from '../databases.ts';
import { type Authority, certifiedSigner, createFakeAuthority } from './authority.ts';
import { commandLine, type Ended } from './command-line.ts';
import { type FederatedPlane, startFederatedPlane } from './federated.ts';
import { invoked } from './invoked.ts';
import { signBundle, startJob, text } from './job.ts';

/** What a GitHub-shaped job has made: the artifact, and its signed attestation. */
export type Attested = { readonly runId: string; readonly artifact: string; readonly bundle: string };

type AttestOptions = {
  readonly workflow?: string;
  /** What the artifact is. */
  readonly content?: string;
  /** In place of a file that is uploaded. */
  readonly material?: CraftedMaterial;
  /** In place of a certificate of the control plane. */
  readonly signer?: Signer;
  /** What becomes of the run, once it is signed. */
  readonly then?: 'push' | 'fail' | 'leave';
};

/** The verdict of `chainloop verify --output json`. */
export type Verdict = {
  readonly verdict: 'passed' | 'failed';
  readonly code: string | null;
  readonly run: string | null;
  readonly contract: { readonly name: string; readonly revision: number } | null;
  readonly trustRoot: { readonly from: string };
  readonly checks: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly expected: string;
    readonly found: string;
    readonly fix: string | null;
  }[];
  readonly others: readonly { readonly code: string; readonly run: string }[];
};

/** A control plane whose authority the tests have, jobs of GitHub, and a verifier with a machine of its own. */
export type GateScene = FederatedPlane & {
  readonly authority: Authority;
  /** Of a viewer of acme. */
  readonly token: string;
  /** Of an operator of organization `other`. */
  readonly otherToken: string;
  readonly root: string;
  readonly line: Awaited<ReturnType<typeof commandLine>>;
  attest(options?: AttestOptions): Promise<Attested>;
  /** A verification summary of it, signed by the authority of the control plane: true, unless something is changed. */
  vsa(
    attested: Attested,
    change?: {
      readonly facts?: Partial<VerdictFacts['run']>;
      readonly attestation?: Digest;
      readonly text?: (vsa: string) => string;
      readonly san?: string;
      readonly authority?: Authority;
    },
  ): Promise<string>;
  write(name: string, content: string): Promise<string>;
  /** Runs the gate, in this process unless said otherwise: online with that token, offline without any. */
  verify(
    args: readonly string[],
    options?: { readonly token?: string; readonly env?: NodeJS.ProcessEnv; readonly alone?: boolean },
  ): Promise<Ended & { readonly answer: Verdict | undefined }>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** The identity of the jobs of `githubJob`. */
export const san = 'https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main';

export const gateContract = `schemaVersion: v1
materials:
  - { type: STRING, name: commit }
  - { type: ARTIFACT, name: binary, output: true }
`;

export async function startGateScene(database: Kind): Promise<GateScene> {
  await using stack = new AsyncDisposableStack();
  const authority = createFakeAuthority('ours');
  const folder = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-ca-')));
  for (const [name, content] of Object.entries(authority.files())) await writeFile(join(folder.path, name), content, { mode: 0o600 });
  const federated = stack.use(await startFederatedPlane({ database, options: { caDir: folder.path } }));
  const { plane, api, github, exchange } = federated;
  await api.contract.update.mutate({ name: 'release', format: 'yaml', body: gateContract });
  await api.contract.create.mutate({
    name: 'strict',
    format: 'yaml',
    body: `${gateContract}  - { type: STRING, name: note, optional: true }\n`,
  });
  await api.workflow.create.mutate({ name: 'strict', project: 'bedrock', contract: 'strict' });
  for (const workflow of ['release', 'strict']) await federated.bind('github', { workflow: `bedrock/${workflow}` });
  const { token } = await api.apiToken.create.mutate({ name: 'gate', role: 'viewer' });
  const { token: otherToken } = await plane.createOrganization('other');
  const line = stack.use(await commandLine({ CHAINLOOP_RETRY_SECONDS: '0' }));
  const write = async (name: string, content: string): Promise<string> => {
    const path = join(line.folder, name);
    await writeFile(path, content);
    return path;
  };
  const root = await write('root.json', JSON.stringify(await api.trustRoot.get.query()));
  let runs = 0;

  async function attest({
    workflow = 'release',
    content = `binary ${runs}`,
    material,
    signer,
    then = 'push',
  }: AttestOptions = {}): Promise<Attested> {
    const runNumber = String(++runs);
    const { token: credential } = await exchange(await github.github({ claims: { run_id: runNumber } }), {
      organization: 'acme',
      workflow,
      project: 'bedrock',
    });
    const job = await startJob({ url: plane.url, organization: 'acme', token: credential });
    const run = await job.init();
    const materials = [text('commit', '9a96775d'), material ?? (await job.upload('binary', content))];
    for (const brought of materials) {
      const { annotations, layout: _, ...rest } = brought;
      await plane
        .api(credential)
        .attestation.collect.mutate({ runId: run.runId, material: { ...rest, annotations: { ...annotations } }, job: 'build' });
    }
    const by = signer ?? createKeylessSigner(createKeylessPorts(plane.api(credential)));
    const bundle = await job.bundle(run, materials, { signer: by, start: { runner: run.runner, env: {}, annotations: {} } });
    if (then === 'push') assert.equal((await job.push(run, bundle)).state, 'success');
    if (then === 'fail')
      await plane.api(credential).attestation.end.mutate({ runId: run.runId, state: 'failed', reason: 'the tests failed' });
    return {
      runId: run.runId,
      artifact: await write(`binary-${runNumber}`, content),
      bundle: await write(`bundle-${runNumber}.json`, bundle),
    };
  }

  let summaries = 0;
  async function vsa({ bundle }: Attested, change: Parameters<GateScene['vsa']>[1] = {}): Promise<string> {
    const content = await readFile(bundle, 'utf8');
    const { subject, predicate } = parseStatement(parseBundle(content).payload);
    const {
      workflowRunID: id = '',
      organization = '',
      project = '',
      workflowName: workflow = '',
      contractName = '',
      contractVersion,
    } = predicate.metadata;
    const contract = { contractName, contractRevision: Number(contractVersion), contractDigest: digestOf('contract') };
    const payload = buildVsa({
      origin: plane.url,
      run: { id, state: 'success', organization, project, workflow, ...contract, acceptedAt: new Date(), ...change.facts },
      attestation: change.attestation ?? digestOf(content),
      subjects: verdictSubjects({ subject }),
      build: { level: 2, reasons: [] },
    });
    const signer = certifiedSigner(change.authority ?? authority, {
      san: change.san ?? verifierOf(plane.url),
      issuer: plane.url,
      signedAt: new Date(),
    });
    const text = Buffer.from(payload).toString();
    const bytes = new Uint8Array(Buffer.from(change.text?.(text) ?? text));
    return write(`vsa-${++summaries}.json`, await signBundle(bytes, statementPayloadType, signer));
  }

  const resources = stack.move();
  return {
    ...federated,
    ...{ authority, token, otherToken, root, line, attest, vsa, write },
    async verify(args, { token: by, env, alone = false } = {}) {
      const words = ['verify', '--output', 'json', ...args];
      const own = { ...(by !== undefined && { CHAINLOOP_URL: plane.url, CHAINLOOP_TOKEN: by }), ...env };
      const ended = alone ? await line.run(words, { env: own }) : await invoked(gate, words, { ...line.env, ...own });
      const answer: Verdict | undefined = ended.stdout === '' ? undefined : JSON.parse(ended.stdout);
      return { ...ended, answer };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
