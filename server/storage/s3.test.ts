import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { AwsV4Signer } from 'aws4fetch';
import { addressKind } from '../../core/adapters/address.ts';
import { type Digest, digestOf, hexOf } from '../../core/digest.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../../test/fakes/fault-proxy.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { call } from '../../test/fakes/http-call.ts';
import { listen } from '../../test/fakes/listen.ts';
import { type FakeS3, type S3Fault, startS3 } from '../../test/fakes/s3.ts';
import { signatureOf } from '../../test/fakes/s3-signature.ts';
import { until } from '../../test/until.ts';
import { createSecrets } from '../sealing.ts';
import { checkStorage } from './check.ts';
import { artifactManifest, emptyDescriptor, mediaTypes } from './manifest.ts';
import { createS3Storage } from './s3.ts';
import type { S3ClientOptions } from './s3-client.ts';
import { pushBlob, type Storage } from './storage.ts';

const MiB = 1024 * 1024;
const secrets = createSecrets(randomBytes(32));
const large = randomBytes(4 * MiB + 17);
const largeDigest = digestOf(large);
const largeKey = `blobs/sha256/${hexOf(largeDigest)}`;

function storageAt(
  s3: FakeS3,
  client: Partial<S3ClientOptions> = {},
  options: { organizationId?: string; now?: () => Date } = {},
): Storage {
  const { bucket, region, credentials, origin } = s3;
  const fetchPolicy = { attempts: 3, baseDelayMs: 1, maxDelayMs: 5 };
  return createS3Storage({
    client: { origin, bucket, prefix: '', region, virtualHost: false, credentials, fetchPolicy, ...client },
    ...{ organizationId: 'acme', secrets, partSizeBytes: MiB, copySizeBytes: 2 * MiB, ...options },
  });
}

type Running = {
  readonly s3: FakeS3;
  readonly proxy: FaultProxy;
  readonly storage: Storage;
  /** The same, in another server. */
  replica(): Storage;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A bucket that takes parts of a MiB, and a storage that reaches it through a proxy that fails. */
async function running(faults: readonly S3Fault[] = [], network: readonly Fault[] = []): Promise<Running> {
  const stack = new AsyncDisposableStack();
  const s3 = stack.use(await startS3({ partSizeBytes: MiB, pageSize: 3 }));
  s3.inject(...faults);
  const proxy = stack.use(await startFaultProxy({ target: s3.origin, faults: network }));
  const storage = storageAt(s3, { origin: proxy.origin });
  stack.defer(() => storage.close());
  const replica = () => storageAt(s3, { origin: proxy.origin });
  return { s3, proxy, storage, replica, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += 65_536) yield bytes.subarray(start, start + 65_536);
}

async function contentOf(storage: Storage, digest: Digest): Promise<Buffer> {
  const found: Uint8Array[] = [];
  for await (const piece of (await storage.fetch(digest))?.body ?? []) found.push(piece);
  return Buffer.concat(found);
}

/** Nothing but blobs, tags and referrers is left. */
function assertTidy({ s3 }: Running): void {
  assert.deepEqual(
    [...s3.objects.keys()].filter((key) => key.startsWith('uploads/')),
    [],
  );
  assert.equal(s3.multiparts.size, 0);
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Examples: Signature Calculations".
const published: readonly (readonly [string, string, string, Record<string, string>, string])[] = [
  ['GET Object', 'GET', '/test.txt', { range: 'bytes=0-9' }, 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'],
  [
    'PUT Object',
    'PUT',
    '/test%24file.text',
    {
      date: 'Fri, 24 May 2013 00:00:00 GMT',
      'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      'x-amz-content-sha256': '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    },
    '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
  ],
  ['GET Bucket Lifecycle', 'GET', '/?lifecycle', {}, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
  ['Get Bucket (List Objects)', 'GET', '/?max-keys=2&prefix=J', {}, '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
];
const example = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY', region: 'us-east-1' };

for (const [name, method, path, extra, signature] of published) {
  test(`both the signer and the fake that judges it make the signature that Amazon published: ${name}`, async () => {
    const host = 'examplebucket.s3.amazonaws.com';
    const headers = { 'x-amz-content-sha256': digestOf('').slice(7), ...extra };
    const url = `https://${host}${path}`;
    const signer = new AwsV4Signer({ ...example, method, url, headers, service: 's3', datetime: '20130524T000000Z', allHeaders: true });
    assert.match((await signer.sign()).headers.get('authorization') ?? '', new RegExp(`Signature=${signature}$`));

    const arrived = { ...headers, host, 'x-amz-date': '20130524T000000Z' };
    const scope = { accessKeyId: example.accessKeyId, date: '20130524', region: example.region, service: 's3' };
    const signedHeaders = Object.keys(arrived).toSorted();
    assert.equal(signatureOf({ method, url: path, headers: arrived }, { scope, signedHeaders }, example.secretAccessKey), signature);
  });
}

test('an upload goes on in another server process, also after a part that was too small to send, and is read before it is believed', async () => {
  await using at = await running();
  const begun = await at.storage.beginUpload();
  const half = await at.storage.append(begun.session, 0, pieces(large.subarray(0, 2_500_000)));
  assert.match(half.session, /^[A-Za-z0-9._-]+$/);
  const replica = at.replica();
  // Whichever session the client remembers.
  assert.equal((await replica.uploadStatus(begun.session)).offset, 2_500_000);
  await replica.finish(half.session, largeDigest, { offset: 2_500_000, body: pieces(large.subarray(2_500_000)) });
  assert.deepEqual(await contentOf(replica, largeDigest), large);
  assert.ok(at.s3.seen.some((line) => /^GetObject uploads\/[\w-]+$/.test(line)));
  assertTidy(at);
  await replica.close();
});

test('the requests of one upload may go to two servers in turn', async () => {
  await using at = await running();
  const servers = [at.storage, at.replica()] as const;
  let upload = await at.storage.beginUpload();
  for (const [index, end] of [700_000, 1_500_000, 1_600_000, 3_300_000, large.byteLength].entries()) {
    upload = await servers[index % 2 === 0 ? 1 : 0].append(upload.session, upload.offset, pieces(large.subarray(upload.offset, end)));
    assert.equal(upload.offset, end);
  }
  await at.storage.finish(upload.session, largeDigest);
  assert.deepEqual(await contentOf(servers[1], largeDigest), large);
  assertTidy(at);
  await servers[1].close();
});

test('wrong bytes leave nothing visible, also when two servers each saw a half of them', async () => {
  await using at = await running();
  const { session } = await at.storage.beginUpload();
  await at.storage.append(session, 0, pieces(randomBytes(2 * MiB)));
  const replica = at.replica();
  const end = { offset: 2 * MiB, body: pieces(large.subarray(2 * MiB)) };
  await assert.rejects(replica.finish(session, largeDigest, end), { code: 'DIGEST_MISMATCH' });
  assert.equal(await replica.stat(largeDigest), undefined);
  assert.deepEqual([...at.s3.objects.keys()], []);
  assertTidy(at);
  await replica.close();
});

test('bytes that a part lost and that are sent again are those that count', async () => {
  // The part fails for good; the client sends other bytes from there, which an early hash would not have seen.
  await using at = await running([{ operation: 'UploadPart', code: 'InternalError', status: 500, skip: 1, times: 3 }]);
  const { session } = await at.storage.beginUpload();
  const wrong = Buffer.concat([large.subarray(0, MiB), randomBytes(3 * MiB)]);
  await assert.rejects(at.storage.append(session, 0, pieces(wrong)), { code: 'REGISTRY_UNAVAILABLE' });
  const { offset } = await at.storage.uploadStatus(session);
  assert.equal(offset, MiB);
  await at.storage.finish(session, largeDigest, { offset, body: pieces(large.subarray(offset)) });
  assert.deepEqual(await contentOf(at.storage, largeDigest), large);
});

test('a server that ends between the last byte and the copy leaves an upload that another server ends', async () => {
  await using at = await running([{ operation: 'UploadPartCopy', code: 'InternalError', status: 500, times: 99 }]);
  const { session } = await at.storage.beginUpload();
  await assert.rejects(at.storage.finish(session, largeDigest, { offset: 0, body: pieces(large) }), { code: 'REGISTRY_UNAVAILABLE' });
  assert.equal(await at.storage.stat(largeDigest), undefined);
  const replica = at.replica();
  assert.equal((await replica.uploadStatus(session)).offset, large.byteLength);
  at.s3.clear();
  assert.deepEqual(await replica.finish(session, largeDigest), { sizeBytes: large.byteLength });
  assert.deepEqual(await contentOf(replica, largeDigest), large);
  assertTidy(at);
  await replica.close();
});

const survived: readonly (readonly [string, readonly S3Fault[], readonly Fault[]])[] = [
  ['SlowDown', [{ operation: 'UploadPart', code: 'SlowDown', status: 503 }], []],
  ['InternalError after a good status', [{ operation: 'CompleteMultipartUpload', code: 'InternalError', status: 200 }], []],
  ['an end whose answer is lost', [{ operation: 'CompleteMultipartUpload', code: 'InternalError', status: 500, after: true }], []],
  ['a part that is stored, and said not to be', [{ operation: 'UploadPart', code: 'InternalError', status: 500, after: true }], []],
  ['a write that waited too long', [{ operation: 'UploadPart', code: 'RequestTimeout', status: 400 }], []],
  ['a connection that breaks in a part', [], [{ type: 'cutRequest', method: 'PUT', path: /partNumber=2/, afterBytes: 100_000 }]],
  ['an answer that never comes', [], [{ type: 'loseAnswer', method: 'PUT', path: /partNumber=3/ }]],
  ['a tidying that fails', [{ operation: 'AbortMultipartUpload', code: 'AccessDenied', status: 403, times: 9 }], []],
];

for (const [name, faults, network] of survived) {
  test(`an upload survives ${name}`, async () => {
    await using at = await running(faults, network);
    const { session } = await at.storage.beginUpload();
    await at.storage.finish(session, largeDigest, { offset: 0, body: pieces(large) });
    assert.deepEqual(await contentOf(at.storage, largeDigest), large);
  });
}

test('a download whose connection breaks goes on where it was; one that was changed ends before its last piece', async () => {
  await using at = await running([], [{ type: 'cutResponse', method: 'GET', path: /blobs/, afterBytes: 1_500_000, times: 2 }]);
  await pushBlob(at.storage, large, largeDigest);
  assert.deepEqual(await contentOf(at.storage, largeDigest), large);
  at.proxy.inject({ type: 'corruptResponse', method: 'GET', path: /blobs/, times: 9 });
  let sizeBytes = 0;
  await assert.rejects(
    async () => {
      for await (const piece of (await at.storage.fetch(largeDigest))?.body ?? []) sizeBytes += piece.byteLength;
    },
    { code: 'DIGEST_MISMATCH' },
  );
  assert.ok(sizeBytes < large.byteLength);
});

test('an object that is replaced while it is read is not mixed with the new one', async () => {
  await using at = await running([], [{ type: 'cutResponse', method: 'GET', path: /blobs/, afterBytes: 1_500_000 }]);
  await pushBlob(at.storage, large, largeDigest);
  const other = [randomBytes(large.byteLength)];
  const reading = at.storage.fetch(largeDigest);
  at.s3.objects.set(largeKey, { pieces: other, etag: '"another"', type: 'x', modifiedAt: new Date() });
  await assert.rejects(async () => {
    for await (const _ of (await reading)?.body ?? []);
  }, /PreconditionFailed|not those of the digest/);
});

test('fifty manifests attached to one subject at once by two servers are all found, and so are fifty tags', async () => {
  await using at = await running();
  const replica = at.replica();
  const layer = { ...emptyDescriptor, size: 2 };
  const subject = artifactManifest({ artifactType: 'application/x', layer });
  const subjectDigest = await at.storage.putManifest('subject', mediaTypes.manifest, subject);
  const target = { mediaType: mediaTypes.manifest, digest: subjectDigest, size: subject.byteLength };
  const attached = await Promise.all(
    Array.from({ length: 50 }, (_, index) => {
      const manifest = artifactManifest({ artifactType: `application/x-${index}`, layer, subject: target });
      return (index % 2 === 0 ? at.storage : replica).putManifest(`tag-${index}`, mediaTypes.manifest, manifest);
    }),
  );
  const found = await Array.fromAsync(at.storage.referrers(subjectDigest));
  const after = found[20]?.digest;
  assert.deepEqual(await Array.fromAsync(replica.referrers(subjectDigest, after)), found.slice(21));
  assert.deepEqual(
    found.map(({ digest }) => digest),
    attached.toSorted(),
  );
  assert.ok(found.some(({ artifactType }) => artifactType === 'application/x-49'));
  assert.equal((await replica.tags()).length, 51);
  await replica.close();
});

test('what nobody continued for a day is swept when an upload begins, and nothing else is', async () => {
  await using at = await running();
  const now = () => new Date(Date.now() + at.s3.skewMs);
  const storage = storageAt(at.s3, {}, { now });
  const old = await storage.beginUpload();
  await storage.append(old.session, 0, pieces(large.subarray(0, 1_500_000)));
  await pushBlob(storage, Buffer.from('kept'), digestOf('kept'));
  at.s3.skewMs = 25 * 60 * 60 * 1000;
  const { session } = await storage.beginUpload();
  // Waits for the sweep.
  await storage.close();
  const replica = storageAt(at.s3, {}, { now });
  assert.deepEqual([...at.s3.objects.keys()], [`blobs/sha256/${hexOf(digestOf('kept'))}`]);
  await assert.rejects(replica.uploadStatus(old.session), { code: 'NOT_FOUND' });
  assert.equal((await replica.uploadStatus(session)).offset, 0);
  await replica.close();
});

test('a session is of no use for another organization, in another place, or changed', async () => {
  await using at = await running();
  const { session } = await at.storage.beginUpload();
  await assert.rejects(storageAt(at.s3, {}, { organizationId: 'other' }).uploadStatus(session), { code: 'NOT_FOUND' });
  await assert.rejects(storageAt(at.s3, { prefix: 'elsewhere' }).uploadStatus(session), { code: 'NOT_FOUND' });
  await assert.rejects(at.storage.uploadStatus(`${session.slice(0, -2)}AA`), { code: 'NOT_FOUND' });
});

const advice: readonly (readonly [string, S3Fault, string, RegExp])[] = [
  ['NoSuchBucket', { operation: 'PutObject', code: 'NoSuchBucket', status: 404 }, 'REGISTRY_ERROR', /no such bucket.*--bucket/],
  [
    'AccessDenied',
    { operation: 'PutObject', code: 'AccessDenied', status: 403 },
    'REGISTRY_UNAUTHORIZED',
    /needs s3:GetObject, s3:PutObject/,
  ],
  ['a 403 without words', { operation: 'HeadObject', code: '', status: 403 }, 'REGISTRY_UNAUTHORIZED', /s3:ListBucket/],
  [
    'ExpiredToken',
    { operation: 'PutObject', code: 'ExpiredToken', status: 400 },
    'REGISTRY_UNAUTHORIZED',
    /session token has expired.*cas-backend update/,
  ],
  ['SlowDown for ever', { operation: 'PutObject', code: 'SlowDown', status: 503, times: 9 }, 'RATE_LIMITED', /try again later/],
  ['InternalError for ever', { operation: 'PutObject', code: 'InternalError', status: 500, times: 9 }, 'REGISTRY_UNAVAILABLE', /later/],
  ['EntityTooLarge', { operation: 'PutObject', code: 'EntityTooLarge', status: 400 }, 'REGISTRY_ERROR', /8 MiB/],
  ['PermanentRedirect', { operation: 'PutObject', code: 'PermanentRedirect', status: 301 }, 'REGISTRY_ERROR', /another region/],
  ['XMinioStorageFull', { operation: 'PutObject', code: 'XMinioStorageFull', status: 507 }, 'DISK_FULL', /no space/],
  ['NotImplemented', { operation: 'CreateMultipartUpload', code: 'NotImplemented', status: 501 }, 'REGISTRY_ERROR', /docs\/storage\.md/],
];

for (const [name, fault, code, message] of advice) {
  test(`the check of a bucket that answers ${name} says what to do`, async () => {
    await using at = await running([fault]);
    await assert.rejects(checkStorage(at.storage, 'test'), (error: unknown) => {
      assert.ok(error instanceof Error && 'code' in error);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.match(error.message, /^bucket evidence at 127\.0\.0\.1:\d+: /);
      return true;
    });
  });
}

test('credentials, region and clock that are wrong are told apart, and no message repeats a secret', async () => {
  await using s3 = await startS3({ sessionToken: 'CANARY-session' });
  const { accessKeyId, secretAccessKey } = s3.credentials;
  const wrong: readonly (readonly [Partial<S3ClientOptions>, RegExp])[] = [
    [{ credentials: { ...s3.credentials, accessKeyId: 'AKIANOBODY' } }, /access key is unknown/],
    [{ credentials: { ...s3.credentials, secretAccessKey: 'CANARY-wrong' } }, /secret access key is not that/],
    [{ credentials: { accessKeyId, secretAccessKey } }, /session token is not valid/],
    [{ region: 'us-east-1' }, /region eu-central-1: add the backend with that --region/],
    [{ bucket: 'another' }, /no such bucket/],
    [{ now: () => new Date(Date.now() + 905_000) }, /clock of this server is (89|90|91)\d s ahead of that of the store/],
  ];
  for (const [client, message] of wrong) {
    const storage = storageAt(s3, client);
    const { code } = await storage.beginUpload().then(
      () => ({ code: 'none' }),
      (error: unknown) => {
        assert.ok(error instanceof Error);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /CANARY/);
        return { code: 'refused' };
      },
    );
    assert.equal(code, 'refused', String(message));
    await storage.close();
  }
  const storage = storageAt(s3);
  await checkStorage(storage, 'test');
  await storage.close();
});

test('with virtual hosting the bucket is in the name of the host', async () => {
  await using s3 = await startS3();
  const storage = storageAt(s3, { origin: 'http://s3.invalid', virtualHost: true });
  await assert.rejects(storage.stat(largeDigest), /http:\/\/evidence\.s3\.invalid\/blobs/);
  await storage.close();
});

test('SSRF: a bucket at an address that the server must not call sees no request', async () => {
  const seen: string[] = [];
  const trap = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end();
  });
  await using listening = await listen(trap);
  await using s3 = await startS3();
  const port = new URL(listening.origin).port;
  for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '0x7f000001', '169.254.169.254', '10.0.0.1', '[fd00::1]']) {
    const origin = new URL(`http://${host}:${port}`).origin;
    const storage = storageAt(s3, { origin, allowAddress: (address) => addressKind(address) === 'public' });
    await assert.rejects(checkStorage(storage, 'test'), { code: /^REGISTRY_/ }, host);
    await storage.close();
  }
  assert.deepEqual(seen, []);
});

test('SSRF: a bucket that sends the server elsewhere is not followed', async () => {
  const seen: string[] = [];
  const trap = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end();
  });
  await using trapped = await listen(trap);
  await using at = await running([], [{ type: 'status', status: 307, headers: { location: `${trapped.origin}/` }, times: 9 }]);
  await assert.rejects(at.storage.stat(largeDigest), { code: 'REGISTRY_ERROR' });
  assert.deepEqual(seen, []);
});

test('a job whose connection breaks resumes through the gateway; the same blob is read there whole and in part', async () => {
  await using at = await running();
  await using gateway = await startGateway({ storage: at.storage });
  await using proxy = await startFaultProxy({
    target: gateway.origin,
    faults: [{ type: 'cutRequest', method: 'PATCH', afterBytes: 1_500_000 }],
  });
  const token = tokens.job;
  const { headers } = await call(proxy.origin, 'POST', '/v2/acme/blobs/uploads/', { token });
  await assert.rejects(call(proxy.origin, 'PATCH', String(headers.location), { token, body: large }));
  await until('the gateway is done', () => gateway.samples.length >= 2, { everyMs: 0 });
  const status = await call(proxy.origin, 'GET', String(headers.location), { token });
  assert.deepEqual([status.status, status.headers.range], [204, '0-1499999']);
  const rest = await call(proxy.origin, 'PUT', `${status.headers.location}?digest=${largeDigest}`, {
    token,
    body: large.subarray(1_500_000),
  });
  assert.equal(rest.status, 201);
  const whole = await call(proxy.origin, 'GET', `/v2/acme/blobs/${largeDigest}`, { token: tokens.api });
  assert.deepEqual(whole.body, large);
  const part = await call(proxy.origin, 'GET', `/v2/acme/blobs/${largeDigest}`, { token: tokens.api, headers: { range: 'bytes=5-9' } });
  assert.deepEqual([part.status, part.body], [206, large.subarray(5, 10)]);
  assert.deepEqual(gateway.errors, []);
  assertTidy(at);
});
