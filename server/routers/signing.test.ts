import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Api } from '../../client/api.ts';
import { createKeylessPorts } from '../../client/signing.ts';
import { createKeylessSigner } from '../../core/adapters/keyless.ts';
import { toBase64 } from '../../core/base64.ts';
import { statementPayloadType } from '../../core/dsse.ts';
import { type ErrorCode, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { pemText } from '../../core/pem.ts';
import { loadTrustRoot } from '../../core/trust-root.ts';
import { verifyBundle } from '../../core/verify.ts';
import { type ControlPlane, startControlPlane } from '../../test/fakes/control-plane.ts';
import { signBundle } from '../../test/fakes/job.ts';
import { needs } from '../../test/needs.ts';

let plane: ControlPlane;
let operator: Api;
let release: Api;
let other: Api;

before(async () => {
  plane = await startControlPlane();
  const acme = await plane.createOrganization('acme');
  operator = acme.api;
  release = plane.api(await plane.createServiceAccount(operator, { workflow: 'release', project: 'app' }));
  other = plane.api(await plane.createServiceAccount(operator, { workflow: 'other', project: 'app' }));
});
after(() => plane[Symbol.asyncDispose]());

const spkiOf = (key: KeyObject): Buffer => createPublicKey(key).export({ type: 'spki', format: 'der' });
const proofOf = (key: KeyObject, text: string): string =>
  sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(text), key).toString('base64');
const ask = (api: Api, key: KeyObject, proof: string) => api.signing.certificate.mutate({ publicKey: toBase64(spkiOf(key)), proof });
const is =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isChainloopError(error, code);

async function sanOf(api: Api): Promise<string> {
  const { identity } = await api.auth.whoami.query();
  assert.ok(identity !== null);
  return identity.san;
}

test('a service account signs keyless, and the exported trust root verifies it by exactly its identity', async () => {
  const san = await sanOf(release);
  assert.match(san, new RegExp(`^${plane.url}/organizations/acme/projects/app/workflows/release/service-accounts/job-`));
  const signer = createKeylessSigner(createKeylessPorts(release));
  const bundle = await signBundle(new Uint8Array(Buffer.from('{}')), statementPayloadType, signer);
  const trustRoot = await loadTrustRoot(JSON.stringify(await operator.trustRoot.get.query()));
  const policy = { type: 'identity', trustRoot, identity: { exact: san }, issuer: plane.url, strict: true } as const;
  assert.equal(Buffer.from(verifyBundle(bundle, policy).payload).toString(), '{}');
  const evil = { ...policy, identity: { exact: await sanOf(other) } };
  assert.throws(() => verifyBundle(bundle, evil), is('SIGNER_UNTRUSTED'));
});

test('a certificate names the caller, whatever it proves: a service account cannot get the name of another', async () => {
  for (const { privateKey } of [generateKeyPairSync('ec', { namedCurve: 'P-256' }), generateKeyPairSync('ed25519')]) {
    await assert.rejects(ask(release, privateKey, proofOf(privateKey, await sanOf(other))), is('SIGNATURE_INVALID'));
    const { certificates } = await ask(release, privateKey, proofOf(privateKey, await sanOf(release)));
    const certificate = new X509Certificate(certificates[0] ?? '');
    assert.equal(certificate.subjectAltName, `URI:${await sanOf(release)}`);
    assert.ok(certificate.checkPrivateKey(privateKey));
  }
});

test('no certificate without a proof of possession: not for a key of somebody else, nor for a signature that was seen elsewhere', async () => {
  const mine = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const theirs = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const san = await sanOf(release);
  await assert.rejects(ask(release, theirs, proofOf(mine, san)), is('SIGNATURE_INVALID'));
  await assert.rejects(ask(release, mine, proofOf(mine, 'another text')), is('SIGNATURE_INVALID'));
  await assert.rejects(ask(release, mine, 'AAAA'), is('SIGNATURE_INVALID'));
});

test('no certificate for a key that tools disagree about', async () => {
  const san = await sanOf(release);
  const keys = [generateKeyPairSync('ec', { namedCurve: 'P-384' }), generateKeyPairSync('rsa', { modulusLength: 1024 })];
  for (const { privateKey } of keys) await assert.rejects(ask(release, privateKey, proofOf(privateKey, san)), is('KEY_INVALID'));
  await assert.rejects(release.signing.certificate.mutate({ publicKey: 'AAAA', proof: 'AAAA' }), is('KEY_INVALID'));
});

test('only jobs are certified: an operator and the owner are no signers', async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  const owner = plane.api(plane.ownerToken, 'acme');
  for (const api of [operator, owner]) await assert.rejects(ask(api, privateKey, 'AAAA'), is('FORBIDDEN'));
  await assert.rejects(createKeylessPorts(operator).identity(), is('FORBIDDEN'));
});

test('only the owner rotates', async () => {
  await assert.rejects(operator.trustRoot.rotate.mutate(), is('FORBIDDEN'));
  await assert.rejects(release.trustRoot.rotate.mutate(), is('FORBIDDEN'));
  const before = await operator.trustRoot.get.query();
  const { generation } = await plane.api(plane.ownerToken).trustRoot.rotate.mutate();
  const rotated = await operator.trustRoot.get.query();
  assert.equal(generation, before.certificateAuthorities.length + 1);
  assert.equal(rotated.certificateAuthorities.length, generation);
});

test('the trust root is for everybody, without a token', async () => {
  const response = await fetch(`${plane.url}/trpc/trustRoot.get`);
  const { result } = JSON.parse(await response.text());
  assert.equal(result.data.mediaType, 'application/vnd.dev.sigstore.trustedroot+json;version=0.1');
  assert.equal(result.data.timestampAuthorities[0].uri, `${plane.url}/tsa`);
});

test('POST /tsa stamps for any RFC 3161 client, and refuses what is none', async (t) => {
  if (!needs(t, 'openssl')) return;
  await using folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-tsa-'));
  const at = (name: string): string => join(folder.path, name);
  const post = (body: Uint8Array, type = 'application/timestamp-query') =>
    fetch(`${plane.url}/tsa`, { method: 'POST', headers: { 'content-type': type }, body: new Uint8Array(body) });
  const openssl = (...options: string[]): string =>
    execFileSync('openssl', options, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  await writeFile(at('data'), 'evidence');
  openssl('ts', '-query', '-data', at('data'), '-sha256', '-cert', '-out', at('query'));
  const response = await post(await readFile(at('query')));
  assert.deepEqual([response.status, response.headers.get('content-type')], [200, 'application/timestamp-reply']);
  await writeFile(at('reply'), Buffer.from(await response.arrayBuffer()));
  const authorities = (await operator.trustRoot.get.query()).timestampAuthorities;
  const root = authorities.at(-1)?.certChain.certificates.at(-1)?.rawBytes ?? '';
  await writeFile(at('root'), pemText('CERTIFICATE', Buffer.from(root, 'base64')));
  assert.match(openssl('ts', '-verify', '-queryfile', at('query'), '-in', at('reply'), '-CAfile', at('root')), /Verification: OK/);

  const refusals: readonly (readonly [Promise<Response>, number])[] = [
    [post(await readFile(at('query')), 'application/json'), 400],
    [post(new Uint8Array(limits.timestampRequestSizeBytes + 1)), 413],
    [fetch(`${plane.url}/tsa`), 404],
  ];
  for (const [refused, status] of refusals) assert.equal((await refused).status, status);
});

test('a flood of open timestamps is turned away, and keeps no job from its own', async () => {
  let at = Date.now();
  await using flooded = await startControlPlane({ now: () => new Date(at) });
  const { api } = await flooded.createOrganization('acme');
  const request = Buffer.from(`303e020101302f300b06096086480165030402010420${'ab'.repeat(32)}02084142434445464748`, 'hex');
  const post = async () => {
    const headers = { 'content-type': 'application/timestamp-query' };
    const response = await fetch(`${flooded.url}/tsa`, { method: 'POST', headers, body: new Uint8Array(request) });
    await response.arrayBuffer();
    return response;
  };
  const statuses = (await Promise.all(Array.from({ length: limits.openTimestampsPerSecond + 5 }, post))).map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, limits.openTimestampsPerSecond);
  const late = await post();
  assert.deepEqual([late.status, late.headers.get('retry-after')], [429, '1']);
  assert.notEqual((await api.signing.timestamp.query({ request: request.toString('base64') })).response, '');
  at += 1_000;
  assert.equal((await post()).status, 200);
});

test('no private key is in the log, nor in an answer', async () => {
  assert.ok(plane.log.length > 0);
  assert.doesNotMatch(plane.log.join(''), /PRIVATE KEY/);
});
