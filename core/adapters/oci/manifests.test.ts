import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blobOf } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf } from '../../digest.ts';
import { limits } from '../../limits.ts';
import { createRegistryClient, type RegistryClient } from './client.ts';
import { emptyConfig, materialManifest } from './evidence-store.ts';
import { fallbackTag } from './fallback-tag.ts';
import { imageIndexType, imageManifestType } from './manifests.ts';

const fast = { baseDelayMs: 4, maxDelayMs: 40, quietMs: 50 };
const file = Buffer.from('evidence');
const manifest = materialManifest({
  digest: digestOf(file),
  sizeBytes: file.byteLength,
  mediaType: 'text/plain',
  fileName: 'evidence.txt',
});
const digest = digestOf(manifest);

async function push(client: RegistryClient): Promise<void> {
  await client.uploadBlob(blobOf(file));
  await client.uploadBlob(blobOf(emptyConfig.bytes));
  await client.putManifest('v1', imageManifestType, manifest);
}

/** A manifest whose subject is the one above. */
function attached(text: string): Buffer {
  const config = { mediaType: emptyConfig.mediaType, digest: digestOf(emptyConfig.bytes), size: emptyConfig.bytes.byteLength };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: imageManifestType,
      artifactType: 'application/vnd.example',
      config,
      layers: [config],
      subject: { mediaType: imageManifestType, digest, size: manifest.byteLength },
      annotations: { text },
    }),
  );
}

test('a manifest is written, found by tag and digest, listed and removed', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme' });
  assert.deepEqual(await client.tags(), []);
  assert.equal(await client.headManifest('v1'), undefined);
  assert.equal(await client.getManifest('v1'), undefined);
  await push(client);
  for (const reference of ['v1', digest]) {
    assert.deepEqual(await client.headManifest(reference), { digest, mediaType: imageManifestType, sizeBytes: manifest.byteLength });
    const found = await client.getManifest(reference);
    assert.deepEqual(found, { digest, mediaType: imageManifestType, bytes: Buffer.from(manifest) });
  }
  assert.deepEqual(await client.tags(), ['v1']);
  assert.equal(await client.deleteManifest(digest), true);
  assert.equal(await client.deleteManifest(digest), false);
  assert.equal(await client.getManifest(digest), undefined);
});

test('a manifest that is not what its digest says is DIGEST_MISMATCH', async () => {
  await using registry = await startTinyRegistry();
  await push(createRegistryClient({ origin: registry.origin, repository: 'acme' }));
  for (const reference of ['v1', digest]) {
    await using proxy = await startFaultProxy({ target: registry.origin, faults: [{ type: 'corruptResponse', method: 'GET' }] });
    const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
    await assert.rejects(client.getManifest(reference), { code: 'DIGEST_MISMATCH' });
  }
});

test('a manifest beyond the limit, a list that is no JSON and a reference that is neither tag nor digest are refused', async () => {
  await using registry = await startTinyRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  proxy.inject({ type: 'status', status: 200, body: 'x'.repeat(limits.manifestSizeBytes + 1), method: 'GET' });
  await assert.rejects(client.getManifest('v1'), { code: 'LIMIT_EXCEEDED' });
  proxy.inject({ type: 'status', status: 200, body: '<html>', method: 'GET' });
  await assert.rejects(client.tags(), { code: 'REGISTRY_ERROR' });
  for (const reference of ['', '../blobs', 'a/b', 'a?b', 'sha256:short'])
    await assert.rejects(client.getManifest(reference), { code: 'USAGE' });
});

for (const referrers of [true, false]) {
  test(`what refers to a manifest is found ${referrers ? 'by the referrers API' : 'by the fallback tag'}`, async () => {
    await using registry = await startTinyRegistry({ referrers });
    const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
    await push(client);
    assert.deepEqual(await client.referrers(digest), []);
    const first = attached('first');
    for (let time = 0; time < 2; time++) await client.putManifest(digestOf(first), imageManifestType, first);
    const second = attached('second');
    await client.putManifest('second', imageManifestType, second);
    const found = await client.referrers(digest);
    assert.deepEqual(
      found.map((one) => [one.digest, one.mediaType, one.size, one.artifactType]),
      [first, second].map((bytes) => [digestOf(bytes), imageManifestType, bytes.byteLength, 'application/vnd.example']),
    );
    assert.equal((await client.headManifest(fallbackTag(digest))) === undefined, referrers);
  });
}

test('pages of referrers are followed on the same registry, and nowhere else', async () => {
  await using registry = await startTinyRegistry({ referrers: true });
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await push(client);
  const bytes = attached('one');
  await client.putManifest(digestOf(bytes), imageManifestType, bytes);
  const index = JSON.stringify({ schemaVersion: 2, mediaType: imageIndexType, manifests: [] });
  const link = (target: string) =>
    ({ type: 'status', status: 200, body: index, path: /referrers/, headers: { link: `<${target}>; rel="next"` } }) as const;
  proxy.inject(link(`/v2/acme/referrers/${digest}?page=2`));
  assert.deepEqual(
    (await client.referrers(digest)).map((one) => one.digest),
    [digestOf(bytes)],
  );
  proxy.inject(link('http://127.0.0.2:9/v2/'));
  await assert.rejects(client.referrers(digest), { code: 'REGISTRY_ERROR' });
});

test('referrers that are attached at once, through several clients, are all kept on a registry without the API', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const clients = Array.from({ length: 4 }, () => createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast }));
  for (const client of clients.slice(0, 1)) await push(client);
  const all = Array.from({ length: 20 }, (_, index) => attached(String(index)));
  await Promise.all(all.map((bytes, index) => clients[index % 4]?.putManifest(digestOf(bytes), imageManifestType, bytes)));
  const found = await clients[0]?.referrers(digest);
  assert.deepEqual(new Set(found?.map((one) => one.digest)), new Set(all.map((bytes) => digestOf(bytes))));
});
