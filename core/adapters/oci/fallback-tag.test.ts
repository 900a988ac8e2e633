import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blobOf } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { attachAlone } from '../../../test/fakes/lone-writer.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { type Digest, digestOf } from '../../digest.ts';
import { artifactManifest, emptyConfig } from './artifact-manifest.ts';
import { createRegistryClient, type RegistryClient } from './client.ts';
import { fallbackTag } from './fallback-tag.ts';
import { imageIndexType, imageManifestType } from './manifests.ts';

const image = artifactManifest({ artifactType: 'text/plain', layer: layerOf('image') });
const subject = { mediaType: imageManifestType, digest: digestOf(image), size: image.byteLength };

function layerOf(mediaType: string) {
  return { mediaType, digest: digestOf(emptyConfig.bytes), size: emptyConfig.bytes.byteLength };
}

function attached(name: string): Uint8Array {
  return artifactManifest({ artifactType: 'example/one', layer: layerOf('text/plain'), subject, annotations: { name } });
}

async function attach(client: RegistryClient, name: string): Promise<Digest> {
  const manifest = attached(name);
  await client.putManifest(digestOf(manifest), imageManifestType, manifest);
  return digestOf(manifest);
}

async function listed(client: RegistryClient): Promise<readonly Digest[]> {
  return (await client.referrers(subject.digest)).map(({ digest }) => digest);
}

const fast = { baseDelayMs: 4, maxDelayMs: 40, quietMs: 200 };

test('where the registry looks at conditions, writers that know nothing of each other lose nothing', async () => {
  await using registry = await startTinyRegistry({ conditional: true });
  const all = Array.from({ length: 12 }, (_, index) =>
    attachAlone({ origin: registry.origin, subject: subject.digest, quietMs: 0 }, `conditional-${index}`),
  );
  const digests = await Promise.all(all);
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app' });
  assert.deepEqual((await listed(client)).toSorted(), digests.toSorted());
  // Nobody wrote over somebody else: of every length there was one version.
  const versions = [...registry.manifests].filter(([name, { type }]) => name.startsWith('sha256:') && type === imageIndexType);
  const lengths = versions.map(([, { bytes }]) => JSON.parse(bytes.toString()).manifests.length);
  assert.deepEqual(
    lengths.toSorted((a, b) => a - b),
    digests.map((_, index) => index + 1),
  );
});

test('a writer stays until its entry stands: one that a tool without conditions overwrites comes back, and nothing else is lost', async () => {
  const theirs = { mediaType: imageManifestType, digest: digestOf('theirs'), size: 6 };
  const overwriting = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: imageIndexType, manifests: [theirs] }));
  const tag = fallbackTag(subject.digest);
  let looks = 0;
  await using registry = await startTinyRegistry({
    onRequest(method, path, { manifests }) {
      // The third look is in the middle of the wait.
      if (method === 'GET' && path.endsWith(tag) && ++looks === 3) manifests.set(tag, { type: imageIndexType, bytes: overwriting });
    },
  });
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app', fetchPolicy: fast });
  const ours = await attach(client, 'ours');
  assert.deepEqual(await listed(client), [theirs.digest, ours]);
});

test('a manifest that was deleted goes from the tag, which a registry would not take with it', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app', fetchPolicy: fast });
  await client.uploadBlob(blobOf(emptyConfig.bytes));
  const [first, second] = [await attach(client, 'first'), await attach(client, 'second')];
  await client.deleteManifest(first);
  const third = await attach(client, 'third');
  assert.deepEqual(await listed(client), [second, third]);
});

test('a registry that takes the tag for the digest of the image has no referrers, and attaching says that it keeps none', async () => {
  await using registry = await startTinyRegistry({ tagIsDigest: true });
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme/app', fetchPolicy: { ...fast, budgetMs: 100 } });
  await client.putManifest('v1', imageManifestType, image);
  assert.deepEqual(await listed(client), []);
  await assert.rejects(attach(client, 'one'), { code: 'REGISTRY_ERROR', message: /does not keep what is written to it/ });
});
