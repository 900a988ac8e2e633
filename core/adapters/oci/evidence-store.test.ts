import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { blobOf, seededBytes } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf } from '../../digest.ts';
import { ChainloopError } from '../../errors.ts';
import type { EvidenceFile } from '../../ports.ts';
import { createRegistryClient } from './client.ts';
import { createEvidenceStore, materialTag } from './evidence-store.ts';

function evidence(bytes: Uint8Array, fileName = 'app.tar'): EvidenceFile {
  return {
    ...blobOf(bytes),
    fileName,
    mediaType: 'application/x-tar',
    digest: async () => digestOf(bytes),
    assertUnchanged: async () => {},
    async [Symbol.asyncDispose]() {},
  };
}

test('evidence in a registry is what skopeo reads there', async (t) => {
  if (!needs(t, 'docker-registry', 'skopeo')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  const { username, password, host } = registry;
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', credentials: { type: 'basic', username, password } });
  const store = createEvidenceStore({ client });
  const bytes = seededBytes(10_000, 'evidence');
  const digest = digestOf(bytes);
  assert.deepEqual(await store.upload(evidence(bytes)), { digest, sizeBytes: 10_000, existed: false });
  const source = `docker://${host}/acme:${materialTag(digest)}`;
  const { stdout } = await promisify(execFile)('skopeo', [
    'inspect',
    '--raw',
    '--tls-verify=false',
    '--creds',
    `${username}:${password}`,
    source,
  ]);
  assert.deepEqual(JSON.parse(stdout), {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    artifactType: 'application/vnd.chainloop.material.v1',
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 },
    layers: [{ mediaType: 'application/x-tar', digest, size: 10_000, annotations: { 'org.opencontainers.image.title': 'app.tar' } }],
  });
});

test('the same evidence again is not sent, and keeps its first manifest under any name', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme' });
  const bytes = seededBytes(10_000, 'evidence');
  const first = await createEvidenceStore({ client }).upload(evidence(bytes));
  const manifest = await client.getManifest(materialTag(first.digest));
  assert.deepEqual(await createEvidenceStore({ client }).upload(evidence(bytes, 'other.tar')), { ...first, existed: true });
  assert.deepEqual(await client.getManifest(materialTag(first.digest)), manifest);
});

test('a file that changed while it was sent gets no manifest', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme' });
  const bytes = seededBytes(10_000, 'evidence');
  const assertUnchanged = async () => {
    throw new ChainloopError('FILE_CHANGED', 'it changed');
  };
  await assert.rejects(createEvidenceStore({ client }).upload({ ...evidence(bytes), assertUnchanged }), { code: 'FILE_CHANGED' });
  assert.equal(await client.headManifest(materialTag(digestOf(bytes))), undefined);
});
