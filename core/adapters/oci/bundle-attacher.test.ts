import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { writeImageLayout } from '../../../examples/quickstart/image.ts';
import { blobOf } from '../../../test/fakes/bytes.ts';
import { startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { digestOf, parseDigest } from '../../digest.ts';
import { createBundleAttacher } from './bundle-attacher.ts';
import { createRegistryClient } from './client.ts';
import { resolveInLayout } from './image-layout.ts';
import { imageManifestType } from './manifests.ts';

const fetchPolicy = { baseDelayMs: 4, maxDelayMs: 40, attempts: 2, quietMs: 50 };
const config = Buffer.from('{}');
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: imageManifestType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: config.byteLength },
    layers: [],
  }),
);
const digest = digestOf(manifest);
const bundle = { bytes: Buffer.from('{"a":"bundle"}'), predicateType: 'https://example.com/v1', createdAt: '2026-11-23T08:00:00.000Z' };
const env = { HOME: '/nonexistent' };

async function imageIn(origin: string): Promise<void> {
  const client = createRegistryClient({ origin, repository: 'acme/app' });
  await client.uploadBlob(blobOf(config));
  await client.putManifest('v1', imageManifestType, manifest);
  client.close();
}

for (const referrers of [true, false]) {
  test(`the same bundle is attached once, ${referrers ? 'with' : 'without'} the referrers API, and another beside it`, async () => {
    await using registry = await startTinyRegistry({ referrers });
    await imageIn(registry.origin);
    const attacher = createBundleAttacher({ env, fetchPolicy });
    const image = { repository: `${registry.host}/acme/app`, digest };
    const first = await attacher.attach(image, bundle);
    assert.equal(first.existed, false);
    assert.deepEqual(await attacher.attach(image, bundle), { ...first, existed: true });
    const other = await attacher.attach(image, { ...bundle, bytes: Buffer.from('{"b":"bundle"}') });
    const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app' });
    assert.deepEqual(
      (await client.referrers(digest)).map((entry) => entry.digest),
      [first.digest, other.digest],
    );
    assert.equal(registry.blobs.get(digestOf(bundle.bytes))?.toString(), '{"a":"bundle"}');
  });
}

test('an image that is gone is said to be, and nothing is written', async () => {
  await using registry = await startTinyRegistry();
  const attacher = createBundleAttacher({ env, fetchPolicy });
  const image = { repository: `${registry.host}/acme/app`, digest };
  await assert.rejects(attacher.attach(image, bundle), { code: 'IMAGE_NOT_FOUND', message: /push the same image again/ });
  assert.equal(registry.blobs.size, 0);
});

test('a registry that answers the referrers API with a redirect elsewhere has none, and is not followed', async () => {
  await using registry = await startTinyRegistry();
  await imageIn(registry.origin);
  const away = { type: 'status', status: 303, path: /referrers/, headers: { location: 'http://127.0.0.2:9/nowhere' } } as const;
  await using proxy = await startFaultProxy({ target: registry.origin, faults: [away, away, away] });
  const attacher = createBundleAttacher({ env, fetchPolicy });
  const image = { repository: `${new URL(proxy.origin).host}/acme/app`, digest };
  const { digest: referrer } = await attacher.attach(image, bundle);
  assert.deepEqual(await attacher.attach(image, bundle), { digest: referrer, existed: true });
});

test('a name and password that were given are shown to one registry, not to the next', async () => {
  const account = { username: 'robot', password: 'secret' };
  await using first = await startTinyRegistry({ account });
  let asked = false;
  await using second = await startTinyRegistry({
    onRequest: () => {
      asked = true;
    },
  });
  const attacher = createBundleAttacher({
    env: { ...env, CHAINLOOP_REGISTRY_USERNAME: 'robot', CHAINLOOP_REGISTRY_PASSWORD: 'secret' },
    fetchPolicy,
  });
  await assert.rejects(attacher.attach({ repository: `${first.host}/acme/app`, digest }, bundle), { code: 'IMAGE_NOT_FOUND' });
  await assert.rejects(attacher.attach({ repository: `${second.host}/acme/app`, digest }, bundle), {
    code: 'USAGE',
    message: /were given are for/,
  });
  assert.equal(asked, false);
});

test('in a layout it stands beside its image, which stays the only one without a name', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'chainloop-attach-'));
  try {
    const image = {
      repository: 'image',
      digest: parseDigest(await writeImageLayout(directory, gzipSync('layer'), 'v1')),
      layout: directory,
    };
    const attacher = createBundleAttacher({ env });
    const { digest: referrer } = await attacher.attach(image, bundle);
    assert.deepEqual(await attacher.attach(image, bundle), { digest: referrer, existed: true });
    assert.equal((await resolveInLayout({ directory })).digest, image.digest);
    const { manifests } = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8'));
    assert.deepEqual(
      manifests.map((entry: { digest: string }) => entry.digest),
      [image.digest, referrer],
    );
    await writeFile(join(directory, 'blobs', 'sha256', image.digest.slice('sha256:'.length)), 'changed');
    await assert.rejects(attacher.attach(image, { ...bundle, bytes: Buffer.from('{}') }), { code: 'DIGEST_MISMATCH' });
  } finally {
    await rm(directory, { recursive: true });
  }
});
