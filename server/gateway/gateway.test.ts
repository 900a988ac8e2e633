import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { emptyConfig, materialManifest } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { type FakeGateway, startGateway, tokens } from '../../test/fakes/gateway.ts';
import { type Answer, type Call, call } from '../../test/fakes/http-call.ts';
import { emptyDescriptor, mediaTypes } from '../storage/manifest.ts';

// What the gateway does beyond the distribution specification; conformance-*.test.ts have what the specification says.

type Caller = (method: string, path: string, options?: Call) => Promise<Answer>;

function callerOf(gateway: FakeGateway, token: string = tokens.api): Caller {
  return (method, path, options) => call(gateway.origin, method, path, { token, ...options });
}

const bytes = randomBytes(300_000);
const digest = digestOf(bytes);

async function pushBlob(as: Caller, content: Uint8Array): Promise<void> {
  const begun = await as('POST', '/v2/acme/blobs/uploads/');
  const done = await as('PUT', `${begun.headers.location}?digest=${digestOf(content)}`, { body: content });
  assert.equal(done.status, 201);
}

async function pushMaterial(
  as: Caller,
  content: Uint8Array,
  fileName = 'a.bin',
): Promise<{ readonly answer: Answer; readonly manifest: Uint8Array }> {
  await pushBlob(as, emptyConfig.bytes);
  await pushBlob(as, content);
  const material = { digest: digestOf(content), sizeBytes: content.byteLength, mediaType: 'application/octet-stream', fileName };
  const manifest = materialManifest(material);
  const path = `/v2/acme/manifests/material-${hexOf(digestOf(content))}`;
  return { answer: await as('PUT', path, { body: manifest, headers: { 'content-type': mediaTypes.manifest } }), manifest };
}

test('evidence is recorded when it has arrived, whichever way it came, and not before', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
  await as('PATCH', String(headers.location), { body: bytes });
  assert.deepEqual(gateway.evidence, []);
  await as('PUT', `${headers.location}?digest=${digest}`);
  const arrived = { organizationId: '00000000-0000-4000-8000-000000000001', digest, sizeBytes: bytes.byteLength };
  assert.deepEqual(gateway.evidence, [arrived]);
  await as('POST', `/v2/acme/blobs/uploads/?digest=${digest}`, { body: bytes });
  assert.deepEqual(gateway.evidence, [arrived, arrived]);
});

test("an operator's image index keeps all that it leads to, also what a job had uploaded", async () => {
  await using gateway = await startGateway();
  const [job, operator] = [callerOf(gateway, tokens.job), callerOf(gateway)];
  const { answer, manifest } = await pushMaterial(job, bytes);
  assert.equal(answer.status, 201);
  assert.deepEqual([...gateway.pinned], []);
  let named: object = { mediaType: mediaTypes.manifest, digest: digestOf(manifest), size: manifest.byteLength };
  for (const tag of ['index', 'index-of-the-index']) {
    const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [named] }));
    named = { mediaType: mediaTypes.index, digest: digestOf(index), size: index.byteLength };
    const headers = { 'content-type': mediaTypes.index };
    assert.equal((await operator('PUT', `/v2/acme/manifests/${tag}`, { body: index, headers })).status, 201);
    assert.ok(gateway.pinned.has(digest), tag);
  }
});

test('a finish that is repeated, because its answer was lost, gets the same answer', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
  const finish = (): Promise<Answer> => as('PUT', `${headers.location}?digest=${digest}`, { body: bytes });
  const [first, second] = [await finish(), await finish()];
  assert.deepEqual([first.status, second.status, second.headers.location], [201, 201, first.headers.location]);
});

test('end-7, end-3: a manifest is stored as it is, and found by tag and digest', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { answer, manifest } = await pushMaterial(as, bytes);
  assert.equal(answer.status, 201);
  assert.equal(answer.headers['docker-content-digest'], digestOf(manifest));
  for (const reference of [`material-${hexOf(digest)}`, digestOf(manifest)]) {
    const got = await as('GET', `/v2/acme/manifests/${reference}`);
    assert.deepEqual([got.status, got.headers['content-type']], [200, mediaTypes.manifest]);
    assert.deepEqual(got.body, Buffer.from(manifest));
    const head = await as('HEAD', `/v2/acme/manifests/${reference}`);
    assert.deepEqual(
      [head.status, head.headers['docker-content-digest'], head.headers['content-length']],
      [200, digestOf(manifest), String(manifest.byteLength)],
    );
  }
  assert.deepEqual(gateway.evidence.at(-1), {
    organizationId: '00000000-0000-4000-8000-000000000001',
    digest,
    sizeBytes: bytes.byteLength,
    fileName: 'a.bin',
    mediaType: 'application/octet-stream',
    manifestDigest: digestOf(manifest),
  });
  for (const reference of ['absent', digestOf('absent'), 'not a tag', '-x', 'a'.repeat(200)]) {
    const absent = await as('GET', `/v2/acme/manifests/${encodeURIComponent(reference)}`);
    assert.deepEqual([absent.status, absent.code], [404, 'MANIFEST_UNKNOWN'], reference);
  }
});

test('the same bytes under another name later do not change what a material tag names', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway, tokens.job);
  const first = await pushMaterial(as, bytes, 'first.bin');
  const second = await pushMaterial(as, bytes, 'second.bin');
  assert.equal(second.answer.status, 201);
  assert.equal((await gateway.storage.getManifest(`material-${hexOf(digest)}`))?.digest, digestOf(first.manifest));
  assert.equal((await gateway.storage.getManifest(digestOf(second.manifest)))?.digest, digestOf(second.manifest));
  const third = materialManifest({ digest, sizeBytes: bytes.byteLength, mediaType: 'text/evil', fileName: 'third.bin' });
  const options = { body: third, headers: { 'content-type': mediaTypes.manifest } };
  assert.equal((await as('PUT', `/v2/acme/manifests/${digestOf(third)}`, options)).status, 201);
  assert.equal((await gateway.storage.getManifest(digestOf(third)))?.digest, digestOf(third));
  for (const { manifestDigest, fileName, mediaType } of gateway.evidence.slice(-2)) {
    assert.deepEqual([manifestDigest, fileName, mediaType], [digestOf(first.manifest), 'first.bin', 'application/octet-stream']);
  }
});

test('a material may have another tag too, by whoever may give one', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { manifest } = await pushMaterial(as, bytes);
  const options = { body: manifest, headers: { 'content-type': mediaTypes.manifest } };
  assert.equal((await as('PUT', '/v2/acme/manifests/v1', options)).status, 201);
  assert.equal((await gateway.storage.getManifest('v1'))?.digest, digestOf(manifest));
});

test('manifests that are wrong are refused', async (t) => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  await pushBlob(as, emptyConfig.bytes);
  await pushBlob(as, bytes);
  const layer = { mediaType: 'text/plain', digest, size: bytes.byteLength };
  const absent = { mediaType: 'text/plain', digest: digestOf('absent'), size: 6 };
  const named = (title: string) => ({ ...layer, annotations: { 'org.opencontainers.image.title': title } });
  const material = (...layers: object[]): object => ({
    schemaVersion: 2,
    artifactType: 'application/vnd.chainloop.material.v1',
    config: emptyDescriptor,
    layers,
  });
  const good = `material-${hexOf(digest)}`;
  const rows: readonly (readonly [string, string, string | object, number, string])[] = [
    ['no JSON', 'v1', '{', 400, 'MANIFEST_INVALID'],
    ['not UTF-8', 'v1', Buffer.from([0xff, 0xfe]).toString('latin1'), 400, 'MANIFEST_INVALID'],
    ['no object', 'v1', '[]', 400, 'MANIFEST_INVALID'],
    ['schema 1', 'v1', { schemaVersion: 1, config: layer, layers: [] }, 400, 'MANIFEST_INVALID'],
    ['neither manifest nor index', 'v1', { schemaVersion: 2 }, 400, 'MANIFEST_INVALID'],
    ['both manifest and index', 'v1', { schemaVersion: 2, config: layer, layers: [], manifests: [] }, 400, 'MANIFEST_INVALID'],
    [
      'a line break in the media type',
      'v1',
      { schemaVersion: 2, mediaType: 'a/b\r\nx: y', config: layer, layers: [] },
      400,
      'MANIFEST_INVALID',
    ],
    [
      'another media type than Content-Type',
      'v1',
      { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] },
      400,
      'MANIFEST_INVALID',
    ],
    ['a layer that is not there', 'v1', { schemaVersion: 2, config: emptyDescriptor, layers: [absent] }, 404, 'MANIFEST_BLOB_UNKNOWN'],
    [
      'a layer of another size',
      'v1',
      { schemaVersion: 2, config: emptyDescriptor, layers: [{ ...layer, size: 1 }] },
      400,
      'MANIFEST_INVALID',
    ],
    ['too many layers', 'v1', { schemaVersion: 2, config: emptyDescriptor, layers: Array(1_001).fill(layer) }, 400, 'MANIFEST_INVALID'],
    ['deep nesting', 'v1', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, 400, 'MANIFEST_INVALID'],
    ['another digest in the path', digestOf('x'), { schemaVersion: 2, config: emptyDescriptor, layers: [layer] }, 400, 'DIGEST_INVALID'],
    [
      'a tag of the control plane',
      `attestation-${hexOf(digest)}`,
      { schemaVersion: 2, config: emptyDescriptor, layers: [layer] },
      403,
      'DENIED',
    ],
    ['a reference that is neither', '..', { schemaVersion: 2, config: emptyDescriptor, layers: [layer] }, 400, 'MANIFEST_INVALID'],
    ['a material of another digest than its tag', `material-${'0'.repeat(64)}`, material(named('a')), 400, 'MANIFEST_INVALID'],
    ['no material under a material tag', good, { schemaVersion: 2, config: emptyDescriptor, layers: [layer] }, 400, 'MANIFEST_INVALID'],
    ['two layers in a material', good, material(named('a'), named('b')), 400, 'MANIFEST_INVALID'],
    ['a material without a name', good, material(layer), 400, 'MANIFEST_INVALID'],
    ...['../a', '/etc/passwd', 'a\\b', '..', 'a\nb', 'a\u202eb', 'a\0b', 'x'.repeat(256), ''].map(
      (title) => [`a material named ${JSON.stringify(title)}`, good, material(named(title)), 400, 'MANIFEST_INVALID'] as const,
    ),
  ];
  for (const [name, reference, content, status, code] of rows) {
    await t.test(name, async () => {
      const body = typeof content === 'string' ? Buffer.from(content, 'latin1') : Buffer.from(JSON.stringify(content));
      const answer = await as('PUT', `/v2/acme/manifests/${reference}`, { body, headers: { 'content-type': mediaTypes.manifest } });
      assert.deepEqual([answer.status, answer.code], [status, code]);
    });
  }
  assert.deepEqual(await gateway.storage.tags(), []);
});

test('a manifest of more than 4 MiB is refused before it is buffered', async () => {
  await using gateway = await startGateway();
  const answer = await callerOf(gateway)('PUT', '/v2/acme/manifests/v1', { body: Buffer.alloc(4 * 1024 * 1024 + 1) });
  assert.deepEqual([answer.status, answer.code], [413, 'SIZE_INVALID']);
  assert.ok((gateway.samples.at(-1)?.receivedBytes ?? 0) === 0);
});
