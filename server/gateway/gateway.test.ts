import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { emptyConfig, materialManifest } from '../../core/adapters/oci/evidence-store.ts';
import { digestOf, hexOf } from '../../core/digest.ts';
import { type FakeGateway, startGateway, tokens } from '../../test/fakes/gateway.ts';
import { type Answer, type Call, call } from '../../test/fakes/http-call.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from '../storage/manifest.ts';

// The distribution specification 1.1, section by section; `end-N` are its endpoints.

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

test('end-1: the API is there for whoever has a token', async () => {
  await using gateway = await startGateway();
  for (const path of ['/v2/', '/v2']) {
    const answer = await callerOf(gateway)('GET', path);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
  }
});

test('end-4a, end-6: POST, then PUT with the whole body, makes a blob that end-2 gives back', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const begun = await as('POST', '/v2/acme/blobs/uploads/');
  assert.equal(begun.status, 202);
  assert.equal(begun.headers.range, '0-0');
  assert.match(String(begun.headers.location), /^\/v2\/acme\/blobs\/uploads\/[A-Za-z0-9_-]{32}$/);
  const done = await as('PUT', `${begun.headers.location}?digest=${digest}`, { body: bytes });
  assert.equal(done.status, 201);
  assert.equal(done.headers.location, `/v2/acme/blobs/${digest}`);
  assert.equal(done.headers['docker-content-digest'], digest);

  const got = await as('GET', `/v2/acme/blobs/${digest}`);
  assert.equal(got.status, 200);
  assert.deepEqual(got.body, bytes);
  const head = await as('HEAD', `/v2/acme/blobs/${digest.replace(':', '%3A')}`);
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-length'], String(bytes.byteLength));
  assert.equal(head.headers['docker-content-digest'], digest);
  assert.deepEqual(gateway.evidence, [{ organizationId: '00000000-0000-4000-8000-000000000001', digest, sizeBytes: bytes.byteLength }]);
});

test('end-4b: POST with a digest takes the body at once', async () => {
  await using gateway = await startGateway();
  const done = await callerOf(gateway)('POST', `/v2/acme/blobs/uploads/?digest=${digest}`, { body: bytes });
  assert.equal(done.status, 201);
  assert.deepEqual(await gateway.storage.stat(digest), { sizeBytes: bytes.byteLength });
});

test('end-5: chunks in order are taken, and chunks out of order are 416 with where to go on', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
  const location = String(headers.location);
  const chunk = (start: number, end: number): Call => ({
    body: bytes.subarray(start, end),
    headers: { 'content-range': `${start}-${end - 1}` },
  });

  const early = await as('PATCH', location, chunk(100_000, 200_000));
  assert.deepEqual([early.status, early.code, early.headers.range], [416, 'BLOB_UPLOAD_INVALID', '0-0']);
  const first = await as('PATCH', location, chunk(0, 100_000));
  assert.deepEqual([first.status, first.headers.range, first.headers.location], [202, '0-99999', location]);
  const again = await as('PATCH', location, chunk(0, 100_000));
  assert.deepEqual([again.status, again.headers.range], [416, '0-99999']);
  const wrongLength = await as('PATCH', location, { body: bytes.subarray(0, 5), headers: { 'content-range': '100000-100009' } });
  assert.equal(wrongLength.status, 416);
  const nonsense = await as('PATCH', location, { body: bytes.subarray(0, 5), headers: { 'content-range': 'all of it' } });
  assert.equal(nonsense.status, 416);

  // end-13
  const status = await as('GET', location);
  assert.deepEqual([status.status, status.headers.range, status.headers.location], [204, '0-99999', location]);
  await as('PATCH', location, chunk(100_000, 200_000));
  const done = await as('PUT', `${location}?digest=${digest}`, chunk(200_000, 300_000));
  assert.equal(done.status, 201);
  assert.deepEqual((await as('GET', `/v2/acme/blobs/${digest}`)).body, bytes);
  assert.deepEqual(
    [(await as('GET', location)).code, (await as('PATCH', location, chunk(0, 5))).code],
    ['BLOB_UPLOAD_UNKNOWN', 'BLOB_UPLOAD_UNKNOWN'],
  );
});

test('a finish that is repeated, because its answer was lost, gets the same answer', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
  const finish = (): Promise<Answer> => as('PUT', `${headers.location}?digest=${digest}`, { body: bytes });
  const [first, second] = [await finish(), await finish()];
  assert.deepEqual([first.status, second.status, second.headers.location], [201, 201, first.headers.location]);
});

test('an upload that is deleted is gone', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
  assert.equal((await as('DELETE', String(headers.location))).status, 204);
  assert.deepEqual(await as('GET', String(headers.location)).then(({ status, code }) => [status, code]), [404, 'BLOB_UPLOAD_UNKNOWN']);
});

test('end-11: a blob is mounted from the organization itself, and asked for again from anywhere else', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  await pushBlob(as, bytes);
  const mounted = await as('POST', `/v2/acme/blobs/uploads/?mount=${digest}&from=acme`);
  assert.deepEqual([mounted.status, mounted.headers.location], [201, `/v2/acme/blobs/${digest}`]);
  assert.equal((await as('POST', `/v2/acme/blobs/uploads/?mount=${digestOf('absent')}&from=acme`)).status, 202);
  const stranger = await callerOf(gateway, tokens.stranger)('POST', `/v2/other/blobs/uploads/?mount=${digest}&from=acme`);
  assert.equal(stranger.status, 202);
});

test('wrong digests are refused, and nothing of them is kept', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const wrong = digestOf('another');
  for (const [query, code] of [
    [`?digest=${wrong}`, 'DIGEST_INVALID'],
    ['?digest=sha256:abc', 'DIGEST_INVALID'],
    [`?digest=${digest.toUpperCase()}`, 'DIGEST_INVALID'],
    ['?digest=sha512:aa', 'DIGEST_INVALID'],
    ['', 'DIGEST_INVALID'],
  ]) {
    const { headers } = await as('POST', '/v2/acme/blobs/uploads/');
    const answer = await as('PUT', `${headers.location}${query}`, { body: bytes });
    assert.deepEqual([answer.status, answer.code], [400, code]);
  }
  assert.equal(await gateway.storage.stat(digest), undefined);
  assert.equal(await gateway.storage.stat(wrong), undefined);
});

test('ranges of a blob', async (t) => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  await pushBlob(as, bytes);
  const size = bytes.byteLength;
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=10-19', 10, 20],
    ['bytes=299990-', 299_990, size],
    ['bytes=-10', 299_990, size],
    ['bytes=-999999', 0, size],
    ['bytes=299990-999999', 299_990, size],
  ] as const) {
    await t.test(range, async () => {
      const answer = await as('GET', `/v2/acme/blobs/${digest}`, { headers: { range } });
      assert.deepEqual([answer.status, answer.headers['content-range']], [206, `bytes ${start}-${end - 1}/${size}`]);
      assert.deepEqual(answer.body, bytes.subarray(start, end));
    });
  }
  for (const range of ['bytes=300000-', 'bytes=5-4', 'bytes=-0']) {
    const answer = await as('GET', `/v2/acme/blobs/${digest}`, { headers: { range } });
    assert.deepEqual([answer.status, answer.headers['content-range']], [416, `bytes */${size}`], range);
  }
  for (const range of ['bytes=0-1,5-6', 'lines=1-2', 'bytes=-', 'bytes=a-b']) {
    assert.equal((await as('GET', `/v2/acme/blobs/${digest}`, { headers: { range } })).status, 200, range);
  }
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

test('end-8: tags come a page at a time, with a link to the next', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const tags: string[] = [];
  for (const text of ['one', 'two', 'three']) {
    await pushMaterial(as, Buffer.from(text));
    tags.push(`material-${hexOf(digestOf(text))}`);
  }
  tags.sort();
  const list = async (query: string): Promise<[unknown, unknown]> => {
    const { body, headers } = await as('GET', `/v2/acme/tags/list${query}`);
    return [JSON.parse(body.toString()), headers.link];
  };
  assert.deepEqual(await list(''), [{ name: 'acme', tags }, undefined]);
  assert.deepEqual(await list('?n=0'), [{ name: 'acme', tags: [] }, undefined]);
  assert.deepEqual(await list('?n=2'), [{ name: 'acme', tags: tags.slice(0, 2) }, `</v2/acme/tags/list?n=2&last=${tags[1]}>; rel="next"`]);
  assert.deepEqual(await list(`?n=2&last=${tags[1]}`), [{ name: 'acme', tags: tags.slice(2) }, undefined]);
  assert.equal((await as('GET', '/v2/acme/tags/list?n=-1')).status, 400);
});

test('end-12: referrers are listed, filtered when asked, and none where there is nothing', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway);
  const { manifest } = await pushMaterial(as, bytes);
  const subject = { mediaType: mediaTypes.manifest, digest: digestOf(manifest), size: manifest.byteLength };
  const layer = { mediaType: 'text/plain', digest, size: bytes.byteLength };
  for (const artifactType of ['example/one', 'example/two']) {
    const referrer = artifactManifest({ artifactType, layer, subject });
    const put = await as('PUT', `/v2/acme/manifests/${digestOf(referrer)}`, { body: referrer });
    assert.deepEqual([put.status, put.headers['oci-subject']], [201, subject.digest]);
  }
  const list = async (path: string): Promise<{ types: unknown; filters: unknown; contentType: unknown }> => {
    const { body, headers } = await as('GET', path);
    const index: { manifests: { artifactType: string }[] } = JSON.parse(body.toString());
    return {
      types: index.manifests.map((one) => one.artifactType).sort(),
      filters: headers['oci-filters-applied'],
      contentType: headers['content-type'],
    };
  };
  const contentType = mediaTypes.index;
  assert.deepEqual(await list(`/v2/acme/referrers/${subject.digest}`), {
    types: ['example/one', 'example/two'],
    filters: undefined,
    contentType,
  });
  assert.deepEqual(await list(`/v2/acme/referrers/${subject.digest}?artifactType=example%2Ftwo`), {
    types: ['example/two'],
    filters: 'artifactType',
    contentType,
  });
  assert.deepEqual(await list(`/v2/acme/referrers/${digestOf('absent')}`), { types: [], filters: undefined, contentType });
  // The subject may come later.
  const early = artifactManifest({ artifactType: 'example/one', layer, subject: { ...subject, digest: digestOf('later') } });
  assert.equal((await as('PUT', `/v2/acme/manifests/${digestOf(early)}`, { body: early })).status, 201);
});

test('nothing is deleted: 405, whatever it is', async () => {
  await using gateway = await startGateway();
  const as = callerOf(gateway, tokens.owner);
  await pushMaterial(as, bytes);
  for (const path of [`/v2/acme/blobs/${digest}`, `/v2/acme/manifests/material-${hexOf(digest)}`, `/v2/acme/manifests/${digest}`]) {
    const answer = await as('DELETE', path);
    assert.deepEqual([answer.status, answer.code], [405, 'UNSUPPORTED'], path);
  }
  assert.equal((await as('POST', '/v2/acme/tags/list')).status, 405);
});
