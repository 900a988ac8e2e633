import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { digestOf } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import { conforms, type Endpoint, imageManifest } from '../../test/fakes/conformance.ts';
import { tokens } from '../../test/fakes/gateway.ts';
import type { Answer, Call } from '../../test/fakes/http-call.ts';
import { emptyDescriptor, mediaTypes } from '../storage/manifest.ts';

// OCI distribution specification 1.1, "Push".

const bytes = randomBytes(300_000);
const digest = digestOf(bytes);
const blobPath = `/v2/acme/blobs/${digest}`;

async function begin({ ask }: Endpoint): Promise<string> {
  const { status, headers } = await ask('POST', 'blobs/uploads/', { headers: { 'content-length': '0' } });
  assert.deepEqual([status, headers.range], [202, '0-0']);
  return String(headers.location);
}

const chunk = (start: number, end: number): Call => ({
  body: bytes.subarray(start, end),
  headers: { 'content-range': `${start}-${end - 1}`, 'content-type': 'application/octet-stream' },
});

async function pullsBack({ ask }: Endpoint, created: Answer): Promise<void> {
  assert.deepEqual([created.status, created.headers.location, created.headers['docker-content-digest']], [201, blobPath, digest]);
  assert.deepEqual((await ask('GET', String(created.headers.location))).body, bytes);
}

conforms('POST then PUT: a session, then the whole blob', async (endpoint) => {
  const location = await begin(endpoint);
  assert.match(location, /^\/v2\/acme\/blobs\/uploads\/[\w.-]{32,}$/);
  await pullsBack(endpoint, await endpoint.ask('PUT', `${location}?digest=${digest}`, { body: bytes }));
});

conforms('Single POST: the blob at once', async (endpoint) => {
  await pullsBack(endpoint, await endpoint.ask('POST', `blobs/uploads/?digest=${digest}`, { body: bytes }));
});

conforms('Single POST, POST then PUT: a blob of no bytes', async ({ ask, blob }) => {
  assert.equal((await ask('HEAD', `blobs/${await blob('')}`)).headers['content-length'], '0');
  assert.equal((await ask('POST', `blobs/uploads/?digest=${digestOf('')}`)).status, 201);
});

conforms('Pushing a blob in chunks: each answer says the range, and the last chunk goes with the PUT, or before it', async (endpoint) => {
  for (const withLast of [true, false]) {
    let location = await begin(endpoint);
    for (const [start, end] of [[0, 100_000], [100_000, 200_000], ...(withLast ? [] : [[200_000, 300_000]])] as const) {
      const { status, headers } = await endpoint.ask('PATCH', location, chunk(start ?? 0, end ?? 0));
      assert.deepEqual([status, headers.range], [202, `0-${(end ?? 0) - 1}`]);
      location = String(headers.location);
    }
    await pullsBack(endpoint, await endpoint.ask('PUT', `${location}?digest=${digest}`, withLast ? chunk(200_000, 300_000) : {}));
  }
});

conforms('Pushing a blob in chunks: out of order is 416, and GET says where to go on', async (endpoint) => {
  const { ask } = endpoint;
  let location = await begin(endpoint);
  const early = await ask('PATCH', location, chunk(100_000, 200_000));
  assert.deepEqual([early.status, early.code, early.headers.range], [416, 'BLOB_UPLOAD_INVALID', '0-0']);
  location = String((await ask('PATCH', location, chunk(0, 100_000))).headers.location);
  const wrong: readonly Call[] = [
    chunk(0, 100_000),
    chunk(150_000, 200_000),
    { body: bytes.subarray(0, 5), headers: { 'content-range': '100000-100009' } },
    { body: bytes.subarray(0, 5), headers: { 'content-range': 'all of it' } },
  ];
  for (const options of wrong) {
    for (const [method, query] of [
      ['PATCH', ''],
      ['PUT', `?digest=${digest}`],
    ] as const) {
      const { status, headers } = await ask(method, location + query, options);
      assert.deepEqual([status, headers.range], [416, '0-99999'], `${method} ${JSON.stringify(options.headers)}`);
    }
  }
  const { status, headers } = await ask('GET', location);
  assert.deepEqual([status, headers.range], [204, '0-99999']);
  location = String((await ask('PATCH', String(headers.location), chunk(100_000, 300_000))).headers.location);
  await pullsBack(endpoint, await ask('PUT', `${location}?digest=${digest}`));
});

conforms('Pushing a blob in chunks: one PATCH of unknown length, as docker sends it', async (endpoint) => {
  const location = await begin(endpoint);
  const response = await fetch(endpoint.gateway.origin + location, {
    method: 'PATCH',
    headers: { authorization: `Bearer ${tokens.api}` },
    body: new Blob([bytes]).stream(),
    duplex: 'half',
  });
  assert.deepEqual([response.status, response.headers.get('range')], [202, '0-299999']);
  await pullsBack(endpoint, await endpoint.ask('PUT', `${response.headers.get('location')}?digest=${digest}`));
});

conforms('end-6, end-5, end-13: a session that ended, was deleted or never was is 404', async (endpoint) => {
  const { ask } = endpoint;
  const done = await begin(endpoint);
  await ask('PUT', `${done}?digest=${digest}`, { body: bytes });
  const deleted = await begin(endpoint);
  await ask('PATCH', deleted, chunk(0, 100));
  assert.equal((await ask('DELETE', deleted)).status, 204);
  for (const location of [done, deleted, '/v2/acme/blobs/uploads/never']) {
    for (const [method, options] of [
      ['GET', {}],
      ['PATCH', chunk(0, 5)],
    ] as const) {
      const { status, code } = await ask(method, location, options);
      assert.deepEqual([status, code], [404, 'BLOB_UPLOAD_UNKNOWN'], `${method} ${location}`);
    }
  }
});

conforms('Pushing blobs: a digest that the bytes do not have, or of another algorithm, is 400, and nothing is kept', async (endpoint) => {
  const { ask } = endpoint;
  const other = digestOf('other');
  for (const wrong of [other, `sha512:${'a'.repeat(128)}`, 'sha256:abc', digest.toUpperCase(), '']) {
    const location = await begin(endpoint);
    const put = await ask('PUT', `${location}?digest=${wrong}`, { body: bytes });
    assert.deepEqual([put.status, put.code], [400, 'DIGEST_INVALID'], wrong);
    if (wrong === '') continue;
    const post = await ask('POST', `blobs/uploads/?digest=${wrong}`, { body: bytes });
    assert.deepEqual([post.status, post.code], [400, 'DIGEST_INVALID'], wrong);
  }
  for (const absent of [digest, other]) assert.equal((await ask('HEAD', `blobs/${absent}`)).status, 404);
});

conforms('Mounting a blob: from the organization itself it is there, from anywhere else the bytes are asked for', async ({ ask, blob }) => {
  await blob(bytes);
  for (const from of ['&from=acme', '']) {
    const { status, headers } = await ask('POST', `blobs/uploads/?mount=${digest}${from}`);
    assert.deepEqual([status, headers.location, headers['docker-content-digest']], [201, blobPath, digest]);
  }
  // What is there in acme, what is not, and what never can be: a stranger sees no difference.
  for (const mount of [digest, digestOf('absent'), `sha512:${'a'.repeat(128)}`]) {
    const { status, headers } = await ask('POST', `/v2/other/blobs/uploads/?mount=${mount}&from=acme`, { token: tokens.stranger });
    assert.equal(status, 202);
    assert.match(String(headers.location), /^\/v2\/other\/blobs\/uploads\/./);
  }
  assert.equal((await ask('POST', `blobs/uploads/?mount=${digest}&from=other`)).status, 202);
  assert.equal((await ask('POST', `blobs/uploads/?mount=${digestOf('absent')}&from=acme`)).status, 202);
});

conforms('Pushing Manifests: image, index, index of indexes, artifact, and the schema 2 of Docker', async ({ ask, blob, manifest }) => {
  await blob('{}');
  const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: await blob(bytes), size: bytes.length };
  const docker = 'application/vnd.docker.distribution.manifest';
  const entry = (content: object, mediaType: string = mediaTypes.manifest): object => {
    const text = JSON.stringify(content);
    return { mediaType, digest: digestOf(text), size: Buffer.byteLength(text) };
  };
  const image = imageManifest({ layers: [layer] });
  const artifact = imageManifest({ artifactType: 'application/x-test', layers: [emptyDescriptor] });
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry(image), entry(artifact)] };
  const nested = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry(index, mediaTypes.index)] };
  const empty = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
  const docker2 = { ...image, mediaType: `${docker}.v2+json` };
  const dockerList = { schemaVersion: 2, mediaType: `${docker}.list.v2+json`, manifests: [entry(docker2, `${docker}.v2+json`)] };
  const rows: readonly (readonly [string, { readonly mediaType?: string }])[] = Object.entries({
    image,
    artifact,
    index,
    nested,
    empty,
    docker2,
    dockerList,
  });
  for (const [tag, content] of rows) {
    const type = content.mediaType ?? mediaTypes.manifest;
    for (const options of [{ type }, { type: `${type}; charset=utf-8`, tag }]) {
      const put = await manifest(content, options);
      const location = `/v2/acme/manifests/${options.tag ?? put.digest}`;
      assert.deepEqual([put.status, put.headers.location, put.headers['docker-content-digest']], [201, location, put.digest], tag);
      const got = await ask('GET', location, { headers: { accept: type } });
      assert.deepEqual([got.status, got.headers['content-type'], got.body.toString()], [200, type, JSON.stringify(content)], tag);
    }
  }
});

conforms(
  'Pushing Manifests: blobs that are not there are MANIFEST_BLOB_UNKNOWN, but for layers that are said to lie elsewhere',
  async (endpoint) => {
    const { blob, manifest } = endpoint;
    await blob('{}');
    const layer = { mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', digest: digestOf('elsewhere'), size: 123 };
    for (const layers of [[layer], [{ ...layer, mediaType: 'text/plain', urls: ['https://store.example.com/x'] }]]) {
      const put = await manifest(imageManifest({ layers }), { tag: 'v1' });
      assert.deepEqual([put.status, put.code], [404, 'MANIFEST_BLOB_UNKNOWN']);
      assert.match(put.body.toString(), new RegExp(digestOf('elsewhere')));
    }
    const sparse = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [{ ...layer, mediaType: mediaTypes.manifest }] };
    assert.equal((await manifest(sparse, { tag: 'v1', type: mediaTypes.index })).code, 'MANIFEST_BLOB_UNKNOWN');
    const elsewhere = imageManifest({ layers: [{ ...layer, urls: ['https://store.example.com/x'] }] });
    assert.equal((await manifest(elsewhere, { tag: 'v1' })).status, 201);
  },
);

conforms(
  'Pushing Manifests: what is wrong is 400 and says why; more than 4 MiB is 413, and 4 MB are taken',
  async ({ ask, blob, manifest }) => {
    await blob('{}');
    const sha512 = { mediaType: 'text/plain', digest: `sha512:${'a'.repeat(128)}`, size: 1 };
    for (const [content, type, says] of [
      [imageManifest({ layers: [sha512] }), mediaTypes.manifest, /layers\.0\.digest: must be sha256/],
      [imageManifest(), mediaTypes.index, /Content-Type says/],
      [{ schemaVersion: 1, name: 'acme', fsLayers: [] }, 'application/vnd.docker.distribution.manifest.v1+json', /schemaVersion/],
      [[], mediaTypes.manifest, /neither an OCI image manifest nor/],
    ] as const) {
      const { status, code, body } = await manifest(content, { tag: 'v1', type });
      assert.deepEqual([status, code], [400, 'MANIFEST_INVALID']);
      assert.match(body.toString(), says);
    }
    for (const reference of [digestOf('other'), `sha512:${'a'.repeat(128)}`, 'sha256:baddigeststring']) {
      const body = JSON.stringify(imageManifest());
      const put = await ask('PUT', `manifests/${reference}`, { body, headers: { 'content-type': mediaTypes.manifest } });
      assert.deepEqual([put.status, put.code], [400, 'DIGEST_INVALID'], reference);
    }
    const large = imageManifest({ annotations: { x: 'x'.repeat(4_000_000) } });
    assert.equal((await manifest(large, { tag: 'large' })).status, 201);
    const tooLarge = await manifest(imageManifest({ annotations: { x: 'x'.repeat(limits.manifestSizeBytes) } }), { tag: 'v1' });
    assert.deepEqual([tooLarge.status, tooLarge.code], [413, 'SIZE_INVALID']);
  },
);

conforms(
  'Pushing Manifests with Subject: taken before its subject is there, and answered with OCI-Subject',
  async ({ ask, blob, manifest }) => {
    await blob('{}');
    const subject = { mediaType: mediaTypes.manifest, digest: digestOf('later'), size: 5 };
    const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [], subject };
    for (const [content, type] of [
      [imageManifest({ subject }), mediaTypes.manifest],
      [index, mediaTypes.index],
    ] as const) {
      const put = await manifest(content, { type });
      assert.deepEqual([put.status, put.headers['oci-subject']], [201, subject.digest]);
      assert.equal((await ask('HEAD', `manifests/${put.digest}`)).status, 200);
    }
  },
);
