import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { digestOf } from '../../core/digest.ts';
import { conforms, imageManifest } from '../../test/fakes/conformance.ts';
import { mediaTypes } from '../storage/manifest.ts';

// OCI distribution specification 1.1, "Pull" and "Determining Support".

conforms('Determining Support: GET /v2/ answers 200', async ({ ask }) => {
  for (const path of ['/v2/', '/v2']) {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers } = await ask(method, path);
      assert.deepEqual([status, headers['docker-distribution-api-version']], [200, 'registry/2.0']);
    }
  }
});

conforms(
  'Pulling manifests: by tag and by digest come the exact bytes, their type without parameters, and their digest',
  async (endpoint) => {
    const { ask, manifest, blob } = endpoint;
    await blob('{}');
    const content = imageManifest({ annotations: { b: '2', a: '1' }, custom: { field: true } });
    const { digest } = await manifest(content, { tag: 'v1.0_x-y' });
    const bytes = Buffer.from(JSON.stringify(content));
    for (const reference of ['v1.0_x-y', digest, digest.replace(':', '%3A')]) {
      const got = await ask('GET', `manifests/${reference}`, { headers: { accept: `${mediaTypes.index}, ${mediaTypes.manifest}` } });
      assert.deepEqual(
        [got.status, got.headers['content-type'], got.headers['docker-content-digest']],
        [200, mediaTypes.manifest, digest],
        reference,
      );
      assert.deepEqual(got.body, bytes);
    }
  },
);

conforms('Pulling manifests: what is not there is 404, whatever the reference looks like', async ({ ask }) => {
  const references = [
    'absent',
    digestOf('absent'),
    'sha256:baddigeststring',
    `sha512:${'a'.repeat(128)}`,
    '-x',
    'a'.repeat(129),
    'not a tag',
  ];
  for (const reference of references) {
    for (const method of ['GET', 'HEAD']) {
      const { status, code } = await ask(method, `manifests/${encodeURIComponent(reference)}`);
      assert.deepEqual([status, code], [404, method === 'GET' ? 'MANIFEST_UNKNOWN' : undefined], reference);
    }
  }
});

conforms('Pulling blobs: the bytes and their digest; one that is not there is 404', async ({ ask, blob }) => {
  for (const bytes of [randomBytes(300_000), Buffer.from('{}'), Buffer.alloc(0)]) {
    const digest = await blob(bytes);
    const got = await ask('GET', `blobs/${digest}`);
    assert.deepEqual(
      [got.status, got.headers['docker-content-digest'], got.headers['content-length']],
      [200, digest, String(bytes.length)],
    );
    assert.deepEqual(got.body, bytes);
  }
  const absent = await ask('GET', `blobs/${digestOf('absent')}`);
  assert.deepEqual([absent.status, absent.code], [404, 'BLOB_UNKNOWN']);
});

conforms('Pulling blobs: a digest that is malformed, or of another algorithm, is 400 and says which one is kept', async ({ ask }) => {
  for (const digest of ['sha256:abc', `sha512:${'a'.repeat(128)}`, `sha256:${'A'.repeat(64)}`, 'md5:x']) {
    const { status, code, body } = await ask('GET', `blobs/${digest}`);
    assert.deepEqual([status, code], [400, 'DIGEST_INVALID']);
    assert.match(body.toString(), /must be sha256/);
  }
});

conforms('Checking if content exists: HEAD answers as GET, without the body', async ({ ask, blob, manifest }) => {
  const digest = await blob('some bytes');
  await blob('{}');
  const { digest: described } = await manifest(imageManifest(), { tag: 'latest' });
  for (const path of [`blobs/${digest}`, `manifests/${described}`, 'manifests/latest', 'tags/list', `referrers/${described}`]) {
    const [head, get] = [await ask('HEAD', path), await ask('GET', path)];
    const shown = ({ headers }: typeof head): unknown =>
      ['content-length', 'content-type', 'docker-content-digest', 'etag'].map((name) => headers[name]);
    assert.deepEqual([head.status, head.body.length, shown(head)], [200, 0, shown(get)], path);
    assert.equal(head.headers['content-length'], String(get.body.length));
  }
  for (const path of [`blobs/${digestOf('absent')}`, `manifests/${digestOf('absent')}`, 'manifests/absent']) {
    assert.equal((await ask('HEAD', path)).status, 404, path);
  }
});

conforms('Pulling blobs: one range is served (RFC 9110, "Range Requests")', async ({ ask, blob }) => {
  const bytes = randomBytes(300_000);
  const size = bytes.length;
  const path = `blobs/${await blob(bytes)}`;
  const get = (range: string, more = {}): ReturnType<typeof ask> => ask('GET', path, { headers: { range, ...more } });
  for (const [range, start, end] of [
    ['bytes=0-0', 0, 1],
    ['bytes=500-1499', 500, 1500],
    ['bytes=299990-', 299_990, size],
    ['bytes=-10', 299_990, size],
    ['bytes=-999999', 0, size],
    ['bytes=299990-999999', 299_990, size],
  ] as const) {
    const answer = await get(range);
    assert.deepEqual([answer.status, answer.headers['content-range']], [206, `bytes ${start}-${end - 1}/${size}`], range);
    assert.deepEqual(answer.body, bytes.subarray(start, end));
  }
  for (const range of ['bytes=300000-', 'bytes=5-4', 'bytes=-0']) {
    const answer = await get(range);
    assert.deepEqual([answer.status, answer.headers['content-range']], [416, `bytes */${size}`], range);
  }
  // Several, or a malformed one, are ignored, as the RFC allows; so is a part of another version (section 13.1.5).
  for (const range of ['bytes=0-1,5-6', 'lines=1-2', 'bytes=-', 'bytes=a-b']) assert.equal((await get(range)).status, 200, range);
  const { etag } = (await get('bytes=0-0')).headers;
  assert.equal((await get('bytes=0-0', { 'if-range': etag })).status, 206);
  assert.equal((await get('bytes=0-0', { 'if-range': '"another"' })).status, 200);
});

conforms('Pulling manifests: an unknown repository is 404', async ({ ask }) => {
  for (const path of [
    '/v2/nobody/manifests/latest',
    '/v2/acme/sub/manifests/latest',
    `/v2/nobody/blobs/${digestOf('x')}`,
    '/v2/_catalog',
  ]) {
    const { status, code } = await ask('GET', path);
    assert.deepEqual([status, code], [404, 'NAME_UNKNOWN'], path);
  }
});
