import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { emptyConfig, materialManifest, materialTag } from '../../core/adapters/oci/evidence-store.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { startRegistry } from '../../test/fakes/docker-registry.ts';
import { startS3 } from '../../test/fakes/s3.ts';
import { needs } from '../../test/needs.ts';
import { createSecrets } from '../sealing.ts';
import { attestationTag, linkAttestation, readBundle, removeAttestation, removeTagged, storeAttestation } from './attestation.ts';
import { checkStorage } from './check.ts';
import { assertAlone, enrol, type Keeper, takeOver, withdraw } from './keeper.ts';
import { openLayout } from './layout.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from './manifest.ts';
import { createRegistryStorage } from './registry.ts';
import { createS3Storage } from './s3.ts';
import { pushBlob, type Storage } from './storage.ts';

type OpenStorage = { readonly storage: Storage; [Symbol.asyncDispose](): Promise<void> };

async function layout(): Promise<OpenStorage> {
  const directory = await mkdtemp(join(tmpdir(), 'chainloop-layout-'));
  const storage = await openLayout(directory);
  return {
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function registry(): Promise<OpenStorage> {
  const { origin, username, password, ...running } = await startRegistry({ auth: 'basic' });
  const storage = createRegistryStorage({
    client: { origin, repository: 'acme/evidence', credentials: { type: 'basic', username, password } },
    organizationId: 'acme',
    secrets: createSecrets(randomBytes(32)),
  });
  return {
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await running[Symbol.asyncDispose]();
    },
  };
}

async function s3(): Promise<OpenStorage> {
  // Pages of two, so that every list has several.
  const { origin, bucket, region, credentials, ...running } = await startS3({ pageSize: 2, partSizeBytes: 1024 * 1024 });
  const storage = createS3Storage({
    client: { origin, bucket, prefix: 'acme/evidence', region, virtualHost: false, credentials },
    organizationId: 'acme',
    secrets: createSecrets(randomBytes(32)),
    ...{ partSizeBytes: 1024 * 1024, copySizeBytes: 3_000_000 },
  });
  return {
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await running[Symbol.asyncDispose]();
    },
  };
}

/** All storages keep the promises of the port. */
function onEachStorage(name: string, claim: (storage: Storage, t: TestContext) => Promise<void>): void {
  test(`layout: ${name}`, async (t) => {
    await using open = await layout();
    await claim(open.storage, t);
  });
  test(`registry: ${name}`, async (t) => {
    if (!needs(t, 'docker-registry')) return;
    await using open = await registry();
    await claim(open.storage, t);
  });
  test(`s3: ${name}`, async (t) => {
    await using open = await s3();
    await claim(open.storage, t);
  });
}

async function* pieces(bytes: Uint8Array, sizeBytes = 64 * 1024): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += sizeBytes) yield bytes.subarray(start, start + sizeBytes);
}

async function* broken(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield* pieces(bytes);
  throw new Error('the client went away');
}

async function contentOf(storage: Storage, digest: Digest, range?: { offset?: number; length?: number }): Promise<Buffer> {
  const reader = await storage.fetch(digest, range);
  assert.ok(reader);
  const found: Uint8Array[] = [];
  for await (const piece of reader.body) found.push(piece);
  return Buffer.concat(found);
}

const large = randomBytes(5 * 1024 * 1024 + 17);
const largeDigest = digestOf(large);

onEachStorage('a blob that arrives in two requests is read back, and is not there before it is finished', async (storage) => {
  const begun = await storage.beginUpload();
  assert.equal(begun.offset, 0);
  const half = await storage.append(begun.session, 0, pieces(large.subarray(0, 3_000_000)));
  assert.equal(half.offset, 3_000_000);
  assert.equal((await storage.uploadStatus(half.session)).offset, 3_000_000);
  const whole = await storage.append(half.session, half.offset, pieces(large.subarray(3_000_000)));
  assert.equal(whole.offset, large.byteLength);
  assert.equal(await storage.stat(largeDigest), undefined);
  assert.deepEqual(await storage.finish(whole.session, largeDigest), { sizeBytes: large.byteLength });
  assert.deepEqual(await storage.stat(largeDigest), { sizeBytes: large.byteLength });
  assert.deepEqual(await contentOf(storage, largeDigest), large);
  await assert.rejects(storage.uploadStatus(whole.session), { code: 'NOT_FOUND' });
});

onEachStorage('the last bytes may come with the request that finishes', async (storage) => {
  const small = randomBytes(1000);
  for (const bytes of [small, large, Buffer.alloc(0)]) {
    const { session } = await storage.beginUpload();
    assert.deepEqual(await storage.finish(session, digestOf(bytes), { offset: 0, body: pieces(bytes) }), { sizeBytes: bytes.byteLength });
    assert.deepEqual(await contentOf(storage, digestOf(bytes)), bytes);
  }
});

onEachStorage('an upload whose client went away is resumed where it broke off', async (storage) => {
  const { session } = await storage.beginUpload();
  await assert.rejects(storage.append(session, 0, broken(large.subarray(0, 2_500_000))), /the client went away/);
  const status = await storage.uploadStatus(session);
  assert.equal(status.offset, 2_500_000);
  await storage.finish(status.session, largeDigest, { offset: status.offset, body: pieces(large.subarray(status.offset)) });
  assert.deepEqual(await contentOf(storage, largeDigest), large);
});

onEachStorage('a client that comes back takes over from its own dead connection', async (storage) => {
  const { session } = await storage.beginUpload();
  const arrived = Promise.withResolvers<void>();
  async function* hanging(): AsyncGenerator<Uint8Array> {
    yield large.subarray(0, 100_000);
    arrived.resolve();
    await new Promise(() => {});
  }
  const first = assert.rejects(storage.append(session, 0, hanging()), { code: 'CONFLICT' });
  await arrived.promise;
  // What the dead connection had brought may or may not be counted yet: the answer says where to go on.
  const retried = storage.append(session, 0, pieces(large)).catch(async () => storage.uploadStatus(session));
  await first;
  const status = await retried;
  await storage.finish(status.session, largeDigest, { offset: status.offset, body: pieces(large.subarray(status.offset)) });
  assert.deepEqual(await contentOf(storage, largeDigest), large);
});

onEachStorage('bytes that are not those of the digest are refused, and forgotten', async (storage) => {
  const wrong = digestOf('something else');
  const { session } = await storage.beginUpload();
  await assert.rejects(storage.finish(session, wrong, { offset: 0, body: pieces(large) }), { code: 'DIGEST_MISMATCH' });
  assert.equal(await storage.stat(wrong), undefined);
  assert.equal(await storage.stat(largeDigest), undefined);
  await assert.rejects(storage.uploadStatus(session), { code: 'NOT_FOUND' });
});

onEachStorage('bytes for another offset are refused, and the upload goes on', async (storage) => {
  const { session } = await storage.beginUpload();
  await assert.rejects(storage.append(session, 10, pieces(large)), { code: 'CONFLICT' });
  const { session: now } = await storage.append(session, 0, pieces(large));
  await storage.finish(now, largeDigest);
});

onEachStorage('a cancelled upload is gone, and so is one that was never begun', async (storage) => {
  const { session } = await storage.beginUpload();
  await storage.cancelUpload(session);
  for (const unknown of [session, 'a'.repeat(32), '../../../etc/passwd', '']) {
    await assert.rejects(storage.uploadStatus(unknown), { code: 'NOT_FOUND' });
    await assert.rejects(storage.finish(unknown, largeDigest), { code: 'NOT_FOUND' });
    await assert.rejects(storage.append(unknown, 0, pieces(large)), { code: 'NOT_FOUND' });
  }
});

onEachStorage('a part of a blob is read, and says that it is not verified', async (storage) => {
  await pushBlob(storage, large, largeDigest);
  assert.deepEqual(await contentOf(storage, largeDigest, { offset: 1_000_000 }), large.subarray(1_000_000));
  assert.deepEqual(await contentOf(storage, largeDigest, { offset: 1_000_000, length: 700_000 }), large.subarray(1_000_000, 1_700_000));
  assert.deepEqual(await contentOf(storage, largeDigest, { length: 0 }), Buffer.alloc(0));
  assert.equal((await storage.fetch(largeDigest, { length: 5 }))?.verified, false);
  assert.equal((await storage.fetch(largeDigest))?.verified, true);
  assert.equal(await storage.fetch(digestOf('absent')), undefined);
});

onEachStorage('eight uploads of the same blob at once leave one blob', async (storage) => {
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const { session } = await storage.beginUpload();
      await storage.finish(session, largeDigest, { offset: 0, body: pieces(large) });
    }),
  );
  assert.deepEqual(await contentOf(storage, largeDigest), large);
});

async function pushMaterial(
  storage: Storage,
  text: string,
): Promise<{ readonly manifest: Digest; readonly digest: Digest; readonly tag: string }> {
  const bytes = Buffer.from(text);
  const digest = digestOf(bytes);
  await pushBlob(storage, emptyConfig.bytes, emptyDescriptor.digest);
  await pushBlob(storage, bytes, digest);
  const manifest = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'text/plain', fileName: 'a.txt' });
  const tag = materialTag(digest);
  return { manifest: await storage.putManifest(tag, mediaTypes.manifest, manifest), digest, tag };
}

onEachStorage('a manifest is found by its tag and by its digest, byte for byte', async (storage) => {
  const { manifest, tag } = await pushMaterial(storage, 'one');
  const byTag = await storage.getManifest(tag);
  assert.equal(byTag?.digest, manifest);
  assert.equal(byTag?.mediaType, mediaTypes.manifest);
  assert.deepEqual(await storage.getManifest(manifest), byTag);
  assert.equal(await storage.getManifest('absent'), undefined);
  assert.equal(await storage.getManifest(digestOf('absent')), undefined);
  await assert.rejects(storage.getManifest('../index.json'), { code: 'USAGE' });
  await assert.rejects(storage.putManifest(digestOf('another'), mediaTypes.manifest, Buffer.from('{}')), { code: 'DIGEST_MISMATCH' });
});

onEachStorage('tags come in order, a page at a time', async (storage) => {
  assert.deepEqual(await storage.tags(), []);
  const tags = [];
  for (const text of ['one', 'two', 'three', 'four', 'five']) tags.push((await pushMaterial(storage, text)).tag);
  tags.sort();
  assert.deepEqual(await storage.tags(), tags);
  assert.deepEqual(await storage.tags({ n: 2 }), tags.slice(0, 2));
  assert.deepEqual(await storage.tags({ n: 2, last: tags[1] ?? '' }), tags.slice(2, 4));
  assert.deepEqual(await storage.tags({ last: tags[4] ?? '' }), []);
});

onEachStorage('an attestation is found by its tag, and from every material that it is about', async (storage) => {
  const one = await pushMaterial(storage, 'one');
  const two = await pushMaterial(storage, 'two');
  const bundle = Buffer.from('{"a":"bundle"}');
  const digest = await storeAttestation(storage, bundle);
  assert.equal(await storeAttestation(storage, bundle), digest);
  const stored = { digest, sizeBytes: bundle.byteLength };
  await linkAttestation(storage, stored, [one.manifest, two.manifest, one.manifest]);
  await linkAttestation(storage, stored, [one.manifest, two.manifest]);

  assert.deepEqual(await readBundle(storage, digest), bundle);
  assert.equal(await readBundle(storage, digestOf('absent')), undefined);
  const tagged = await storage.getManifest(attestationTag(digest));
  assert.ok(tagged);
  const content = JSON.parse(Buffer.from(tagged.bytes).toString());
  assert.equal(content.artifactType, 'application/vnd.dev.sigstore.bundle.v0.3+json');
  assert.equal(content.layers[0].digest, digest);
  for (const { manifest } of [one, two]) {
    const referrers = await Array.fromAsync(storage.referrers(manifest));
    assert.equal(referrers.length, 1);
    assert.equal(referrers[0]?.artifactType, content.artifactType);
    const referrer = await storage.getManifest(referrers[0]?.digest ?? '');
    assert.equal(JSON.parse(Buffer.from(referrer?.bytes ?? '').toString()).subject.digest, manifest);
  }
  assert.deepEqual(await Array.fromAsync(storage.referrers(digestOf('absent'))), []);
  await assert.rejects(linkAttestation(storage, stored, [digestOf('absent')]), { code: 'EVIDENCE_MISSING' });
});

onEachStorage(
  'an attestation and a material are removed, as often as one likes, and come back when they are sent again',
  async (storage) => {
    const { tag, manifest } = await pushMaterial(storage, 'to be removed');
    const bundle = Buffer.from('{"a":"bundle to be removed"}');
    const stored = { digest: await storeAttestation(storage, bundle), sizeBytes: bundle.byteLength };
    await linkAttestation(storage, stored, [manifest]);
    const material = digestOf('to be removed');
    for (let round = 0; round < 2; round++) {
      await removeAttestation(storage, { ...stored, isEvidence: false }, [manifest], new AbortController().signal);
      assert.equal(await storage.getManifest(attestationTag(stored.digest)), undefined);
      assert.ok(await storage.getManifest(tag));
    }
    for (let round = 0; round < 2; round++) {
      await removeTagged(storage, tag, manifest);
      await storage.removeBlob?.(material);
      assert.equal(await storage.getManifest(tag), undefined);
      assert.equal(await storage.getManifest(manifest), undefined);
    }
    assert.deepEqual(await storage.tags(), []);
    // The blobs of a registry are its own collector's.
    if (storage.type !== 'registry')
      assert.deepEqual([await storage.stat(material), await storage.stat(stored.digest)], [undefined, undefined]);
    assert.equal((await pushMaterial(storage, 'to be removed')).manifest, manifest);
    assert.ok(await storage.getManifest(tag));
  },
);

test('layout: a blob is not taken for a manifest', async () => {
  await using open = await layout();
  for (const bytes of [large, Buffer.from('{"schemaVersion":2}'), Buffer.from('null'), Buffer.alloc(0)]) {
    await pushBlob(open.storage, bytes, digestOf(bytes));
    assert.equal(await open.storage.getManifest(digestOf(bytes)), undefined);
  }
});

onEachStorage('the check writes, reads back, and finds referrers', async (storage) => {
  await checkStorage(storage, 'one');
  await checkStorage(storage, 'one');
  await checkStorage(storage, 'two');
});

test('the manifest of an artifact has no time in it: the same input gives the same bytes', () => {
  const layer = { mediaType: 'text/plain', digest: largeDigest, size: 1 };
  const bytes = artifactManifest({ artifactType: 'text/plain', layer });
  assert.equal(
    createHash('sha256').update(bytes).digest('hex'),
    digestOf(artifactManifest({ artifactType: 'text/plain', layer })).slice(7),
  );
});

onEachStorage('who keeps evidence in one place finds the others, and is alone again when they left or were taken over', async (storage) => {
  const [acme, umbrella, restored]: readonly Keeper[] = [
    { organizationId: 'acme', instanceId: 'one' },
    { organizationId: 'umbrella', instanceId: 'two' },
    { organizationId: 'acme', instanceId: 'restored' },
  ];
  assert.ok(acme && umbrella && restored);
  const isRefused = (keeper: Keeper, why: RegExp) =>
    assert.rejects(assertAlone(storage, keeper, 'main'), { code: 'CONFLICT', message: why }, JSON.stringify(keeper));
  assert.deepEqual(await enrol(storage, acme), []);
  assert.deepEqual(await enrol(storage, acme), []);
  await assertAlone(storage, acme, 'main');

  // A copy is told whose it is, and does not stop the original.
  await isRefused(restored, /restored from.*chainloop cas-backend take-over --name main/);
  await assertAlone(storage, acme, 'main');

  const found = await Promise.all([enrol(storage, umbrella), enrol(storage, umbrella)]);
  assert.deepEqual(
    found.flat().map(({ organizationId }) => organizationId),
    ['acme', 'acme'],
  );
  await isRefused(acme, /another organization of another control plane \(umbrella\)/);
  await isRefused(umbrella, /another organization of another control plane \(acme\)/);
  await withdraw(storage, umbrella);
  await assertAlone(storage, acme, 'main');

  await takeOver(storage, restored);
  await assertAlone(storage, restored, 'main');
  await isRefused(acme, /restored from this one/);
  await assertAlone(storage, restored, 'main');
});
