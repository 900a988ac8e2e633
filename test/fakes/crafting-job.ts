import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { createCraftingStore } from '../../core/adapters/crafting-store.ts';
import { files } from '../../core/adapters/files.ts';
import { generateKeyPair, loadSigner } from '../../core/adapters/keys.ts';
import { type AddOptions, add, type InitOptions, init, push, reset, status } from '../../core/attestation.ts';
import { Contract } from '../../core/contract/schema.ts';
import { digestOf } from '../../core/digest.ts';
import { ChainloopError, type ErrorCode } from '../../core/errors.ts';
import { parseStatement, type Statement } from '../../core/statement.ts';
import { verifyBundle } from '../../core/verify.ts';
import { fakeControlPlane } from './memory-control-plane.ts';

/** The folder of the job's files; it goes with the tests. */
export const root = mkdtempSync(join(tmpdir(), 'chainloop-attestation-'));
after(() => rmSync(root, { recursive: true, force: true }));
/** A file with that text: its path. */
export const file = (name: string, text: string): string => {
  writeFileSync(join(root, name), text);
  return join(root, name);
};

const own = await generateKeyPair();
const other = await generateKeyPair();
const env = { KEY: own.privateKeyPem, OTHER: other.privateKeyPem };
export const signer = await loadSigner('env://KEY', { env });
export const otherSigner = await loadSigner('env://OTHER', { env });
export const trusted = { name: 'release', pem: own.publicKeyPem };
export const imageDigest = digestOf('an image');
export const builderId = `chainloop.dev/cli/0.1.0@${digestOf('cli')}`;

/** One material of each source, and one that is optional and stays here. */
export const jobContract = Contract.parse({
  materials: [
    { type: 'STRING', name: 'commit' },
    { type: 'ARTIFACT', name: 'binary', output: true },
    { type: 'CONTAINER_IMAGE', name: 'image', output: true },
    { type: 'EVIDENCE', name: 'notes', optional: true, skipUpload: true, annotations: [{ name: 'stage', value: 'build' }] },
  ],
  envAllowList: ['CUSTOM_VAR'],
  runner: { type: 'GITHUB_ACTION' },
});
/** The environment of the job: some of it is none of the attestation's business. */
export const ci = {
  GITHUB_ACTIONS: 'true',
  GITHUB_RUN_ID: '1',
  GITHUB_SHA: 'abc',
  CUSTOM_VAR: 'value',
  CHAINLOOP_TOKEN: 'chl_secret',
  OTHER: 'x',
};
export const head = { commit: 'a'.repeat(40), remotes: [] };

let count = 0;
/** A job with real files, a real state folder and a real key, and a control plane that behaves. */
export function aJob(options: { readonly contract?: Contract; readonly now?: () => Date } = {}) {
  const now = options.now ?? (() => new Date('2026-11-23T08:00:00Z'));
  const plane = fakeControlPlane({ contract: options.contract ?? jobContract, keys: [trusted], now });
  const directory = join(root, `state${++count}`);
  const store = createCraftingStore(directory);
  const ports = {
    store,
    controlPlane: plane.controlPlane,
    evidence: plane.store,
    files,
    git: { head: async () => head },
    images: {
      resolve: async (reference: string) => {
        if (reference !== 'ghcr.io/acme/app:v1') throw new ChainloopError('IMAGE_NOT_FOUND', `image ${reference}: not found`);
        return { repository: 'ghcr.io/acme/app', tag: 'v1', digest: imageDigest, mediaType: 'application/vnd.oci.image.index.v1+json' };
      },
    },
    signer,
    now,
    newId: () => `id-${++count}`,
  };
  const initOptions: InitOptions = {
    from: { type: 'controlPlane', origin: 'http://127.0.0.1:8080', workflow: 'release', project: 'bedrock' },
    env: ci,
    directory: root,
  };
  return {
    plane,
    store,
    ports,
    directory,
    init: (changes: Partial<InitOptions> = {}) => init(ports, { ...initOptions, ...changes }),
    add: (name: string, value: string, more: Partial<AddOptions> = {}) => add(ports, { name, value, ...more }),
    status: () => status(ports),
    push: (changes: Partial<typeof ports> = {}) => push({ ...ports, ...changes }, { builderId }),
    reset: () => reset(ports, { state: 'cancelled', reason: 'test' }),
  };
}
export type Job = ReturnType<typeof aJob>;
export const binary = file('server.tar', 'the binary');
export async function addAll(job: Job): Promise<void> {
  await job.add('commit', 'deadbeef');
  await job.add('binary', binary);
  await job.add('image', 'ghcr.io/acme/app:v1');
}
/** A job that has all it needs to push. */
export async function ready(): Promise<Job> {
  const job = aJob();
  await job.init();
  await addAll(job);
  return job;
}
/** The promise fails with our error of that code, and says that. */
export const fails = (promise: Promise<unknown>, code: ErrorCode, message: RegExp = /./) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof ChainloopError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });

/** What a pushed bundle says, after verifying it as anybody with the public key would. */
export function statementIn(bundle: string): Statement {
  return parseStatement(verifyBundle(bundle, { type: 'keys', keys: [trusted] }).payload);
}
