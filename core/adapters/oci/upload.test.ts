import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blobOf, seededBytes } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { type Fault, startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf } from '../../digest.ts';
import { ChainloopError, type ErrorCode, isChainloopError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { createRegistryClient } from './client.ts';

const fast = { baseDelayMs: 4, maxDelayMs: 40 };
const small = seededBytes(100_000, 'small');
const large = seededBytes(limits.singleRequestUploadSizeBytes + 3_000_001, 'large');

test('what was uploaded can be read, by digest, and is not sent again', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  await using proxy = await startFaultProxy({ target: registry.origin });
  const { username, password } = registry;
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme/app', credentials: { type: 'basic', username, password } });
  for (const bytes of [small, large, seededBytes(1, 'one'), seededBytes(limits.singleRequestUploadSizeBytes, 'limit')]) {
    const digest = digestOf(bytes);
    const progress: number[] = [];
    const first = await client.uploadBlob(blobOf(bytes), { onProgress: (sent) => progress.push(sent) });
    assert.deepEqual(first, { digest, sizeBytes: bytes.byteLength, existed: false });
    assert.equal(progress.at(-1), bytes.byteLength);
    assert.deepEqual(await client.headBlob(digest), { sizeBytes: bytes.byteLength });
    const before = proxy.bodyBytes();
    assert.deepEqual(await client.uploadBlob(blobOf(bytes), { expected: digest }), { ...first, existed: true });
    assert.equal(proxy.bodyBytes(), before);
  }
  assert.equal(await client.headBlob(digestOf('nobody has this')), undefined);
});

test('a blob that the registry has with another size is sent again', async () => {
  await using registry = await startTinyRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme' });
  await client.uploadBlob(blobOf(small));
  registry.blobs.set(digestOf(small), Buffer.from('evil\n'));
  assert.equal((await client.uploadBlob(blobOf(small))).existed, false);
  assert.ok(registry.blobs.get(digestOf(small))?.equals(small));
});

test('eight uploads of one blob at once all succeed', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme' });
  const answers = await Promise.all(Array.from({ length: 8 }, () => client.uploadBlob(blobOf(large))));
  assert.deepEqual(new Set(answers.map(({ digest }) => digest)), new Set([digestOf(large)]));
});

// F3: the connection is reset after N bytes of the body.
const cuts = [0, 1, Math.floor(large.byteLength / 4), Math.floor(large.byteLength / 2), large.byteLength - 1];

for (const times of [1, 3]) {
  test(`F3: an upload survives ${times} reset(s) at any byte, on a registry that loses the session`, async (t) => {
    if (!needs(t, 'docker-registry')) return;
    await using registry = await startRegistry();
    for (const [index, afterBytes] of cuts.entries()) {
      await using proxy = await startFaultProxy({ target: registry.origin });
      proxy.inject({ type: 'cutRequest', method: 'PATCH', afterBytes, times });
      const client = createRegistryClient({ origin: proxy.origin, repository: `acme/${times}/${index}`, fetchPolicy: fast });
      const { digest } = await client.uploadBlob(blobOf(large));
      assert.equal(digest, digestOf(large));
      assert.deepEqual(await client.headBlob(digest), { sizeBytes: large.byteLength });
      assert.equal(proxy.bodyBytes(), large.byteLength + times * afterBytes, 'only what was cut is sent again');
    }
  });

  test(`F3: an upload resumes after ${times} reset(s) where the registry can, and sends no byte twice`, async () => {
    for (const afterBytes of cuts.slice(2)) {
      await using registry = await startTinyRegistry();
      await using proxy = await startFaultProxy({ target: registry.origin });
      proxy.inject({ type: 'cutRequest', method: 'PATCH', afterBytes: Math.floor(afterBytes / times), times });
      const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
      const { digest } = await client.uploadBlob(blobOf(large));
      assert.equal(digest, digestOf(large));
      assert.ok(registry.blobs.get(digest)?.equals(large));
      assert.equal(proxy.bodyBytes(), large.byteLength);
      assert.equal(proxy.requests.filter(({ method }) => method === 'POST').length, 1);
    }
  });
}

test('F3: resets in requests without a body, and lost answers, are survived', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const faults: readonly Fault[] = [
    { type: 'loseAnswer', method: 'POST' },
    { type: 'loseAnswer', method: 'PATCH' },
    { type: 'loseAnswer', method: 'PUT' },
    { type: 'cutRequest', method: 'PUT', afterBytes: 0 },
    { type: 'loseAnswer', method: 'HEAD' },
  ];
  for (const [index, fault] of faults.entries()) {
    for (const bytes of [small, large]) {
      await using proxy = await startFaultProxy({ target: registry.origin, faults: [fault] });
      const client = createRegistryClient({ origin: proxy.origin, repository: `acme/lost/${index}`, fetchPolicy: fast });
      assert.equal((await client.uploadBlob(blobOf(bytes))).digest, digestOf(bytes), fault.type);
    }
  }
});

test('F4: passing failures are waited out', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  for (const status of [408, 429, 500, 502, 503, 504]) {
    for (const method of ['POST', 'PATCH', 'PUT', 'HEAD']) {
      await using proxy = await startFaultProxy({ target: registry.origin, faults: [{ type: 'status', status, method }] });
      const client = createRegistryClient({
        origin: proxy.origin,
        repository: `acme/f4/${status}/${method.toLowerCase()}`,
        fetchPolicy: fast,
      });
      const bytes = method === 'PATCH' ? large : small;
      assert.equal((await client.uploadBlob(blobOf(bytes))).digest, digestOf(bytes), `${method} ${status}`);
    }
  }
});

test('F4: Retry-After is honoured, and one beyond the budget ends the upload at once', async () => {
  await using registry = await startTinyRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: { ...fast, budgetMs: 5_000 } });
  proxy.inject({ type: 'status', status: 429, headers: { 'retry-after': '1' }, method: 'POST' });
  const startedMs = performance.now();
  await client.uploadBlob(blobOf(small));
  assert.ok(performance.now() - startedMs >= 990);
  proxy.inject({ type: 'status', status: 429, headers: { 'retry-after': '3600' }, method: 'POST' });
  await assert.rejects(client.uploadBlob(blobOf(seededBytes(10, 'other'))), (error) => {
    assert.ok(isChainloopError(error, 'RATE_LIMITED'));
    assert.match(error.message, /upload of a blob failed \(429\); too many requests: try again in 3600 s/);
    return true;
  });
});

test('F4: silence ends a try, not the upload', async () => {
  await using registry = await startTinyRegistry();
  for (const method of ['POST', 'PATCH', 'PUT']) {
    await using proxy = await startFaultProxy({ target: registry.origin, faults: [{ type: 'hang', method }] });
    const fetchPolicy = { ...fast, requestTimeoutMs: 500, idleTimeoutMs: 500, commitTimeoutMs: 500 };
    const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy });
    assert.equal((await client.uploadBlob(blobOf(large))).digest, digestOf(large));
  }
});

const finals: readonly { status: number; body?: string; code: ErrorCode; says: RegExp }[] = [
  { status: 400, code: 'REGISTRY_ERROR', says: /failed \(400\)/ },
  { status: 401, code: 'REGISTRY_UNAUTHORIZED', says: /check the credentials for 127/ },
  {
    status: 403,
    body: '{"errors":[{"code":"DENIED","message":"no\\u001b[31m access"}]}',
    code: 'REGISTRY_UNAUTHORIZED',
    says: /\(403 DENIED: no\?\[31m access\); the account may not do this/,
  },
  { status: 404, code: 'REGISTRY_ERROR', says: /check the name of the repository/ },
  { status: 413, code: 'REGISTRY_ERROR', says: /limits the size of a request/ },
  { status: 507, code: 'DISK_FULL', says: /no space left/ },
  {
    status: 500,
    body: '{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"write","Err":28}}}]}',
    code: 'DISK_FULL',
    says: /make room there/,
  },
];

for (const { status, body, code, says } of finals) {
  test(`a registry that answers ${status} ${body === undefined ? '' : 'with a reason '}is asked once: ${code}`, async () => {
    await using registry = await startTinyRegistry();
    await using proxy = await startFaultProxy({ target: registry.origin });
    proxy.inject({ type: 'status', status, method: 'POST', ...(body === undefined ? {} : { body }) });
    const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
    await assert.rejects(client.uploadBlob({ ...blobOf(small), fileName: 'app.tar' }), (error) => {
      assert.ok(isChainloopError(error, code), String(error));
      assert.match(error.message, says);
      assert.ok(error.message.includes(proxy.host) && error.message.includes('app.tar'));
      return true;
    });
    assert.equal(proxy.requests.filter(({ method }) => method === 'POST').length, 1);
  });
}

test('a registry that keeps failing is given up after a bounded number of tries', async () => {
  await using registry = await startTinyRegistry();
  await using proxy = await startFaultProxy({
    target: registry.origin,
    faults: [{ type: 'status', status: 503, method: 'PATCH', times: 1000 }],
  });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.uploadBlob(blobOf(large)), { code: 'REGISTRY_UNAVAILABLE' });
  assert.equal(proxy.requests.filter(({ method }) => method === 'PATCH').length, limits.attempts);
});

test('a control plane whose storage cannot be used says so, also without a body', async () => {
  await using registry = await startTinyRegistry();
  const headers = { 'x-chainloop-error': 'STORAGE_UNAVAILABLE' };
  await using proxy = await startFaultProxy({ target: registry.origin, faults: [{ type: 'status', status: 503, headers, times: 1000 }] });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.headManifest('material-x'), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /storage cannot be used: .*cas-backend check/,
  });
});

test('a registry that nobody runs is REGISTRY_UNAVAILABLE, with its host', async () => {
  const client = createRegistryClient({ origin: 'http://127.0.0.1:9', repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.uploadBlob(blobOf(small)), {
    code: 'REGISTRY_UNAVAILABLE',
    message: /registry 127\.0\.0\.1:9: .*nothing listens there/,
  });
});

test('F5: a token that expires at any step of an upload is renewed once and the upload goes on', async () => {
  const account = { username: 'robot', password: 'secret' };
  for (const bytes of [small, large]) {
    for (const step of ['POST', 'PATCH', 'PUT']) {
      let armed = true;
      await using registry = await startTinyRegistry({
        account,
        onRequest(method, _path, self) {
          if (method === step && armed) {
            armed = false;
            self.expireTokens();
          }
        },
      });
      const client = createRegistryClient({
        origin: registry.origin,
        repository: 'acme',
        credentials: { type: 'basic', ...account },
        fetchPolicy: fast,
      });
      assert.equal((await client.uploadBlob(blobOf(bytes))).digest, digestOf(bytes));
      assert.ok(registry.blobs.has(digestOf(bytes)));
      assert.equal(registry.tokenRequests.length, armed ? 1 : 2, step);
    }
  }
});

test('F5: a token that is never good is not renewed for ever', async () => {
  const account = { username: 'robot', password: 'secret' };
  await using registry = await startTinyRegistry({
    account,
    onRequest: (method, _path, self) => method === 'PATCH' && self.expireTokens(),
  });
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme',
    credentials: { type: 'basic', ...account },
    fetchPolicy: fast,
  });
  await assert.rejects(client.uploadBlob(blobOf(large)), { code: 'REGISTRY_UNAUTHORIZED' });
  assert.ok(registry.tokenRequests.length < 20, `${registry.tokenRequests.length} tokens`);
});

test('F6: a registry that is killed inside a blob never shows half of it, and the upload finishes when it is back', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme',
    fetchPolicy: { baseDelayMs: 100, maxDelayMs: 500, attempts: 40 },
  });
  const digest = digestOf(large);
  let killed: Promise<void> | undefined;
  let seenWhileAway: unknown = 'not asked';
  const uploaded = await client.uploadBlob(blobOf(large), {
    onProgress(sentBytes) {
      if (sentBytes < large.byteLength / 2) return;
      killed ??= (async () => {
        await registry.stop({ kill: true });
        await registry.start();
        seenWhileAway = await client.headBlob(digest);
      })();
    },
  });
  await killed;
  assert.equal(seenWhileAway, undefined);
  assert.equal(uploaded.digest, digest);
  assert.deepEqual(await client.headBlob(digest), { sizeBytes: large.byteLength });
});

test('a file that shrinks, grows or differs from its digest is refused, and the registry keeps nothing', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  for (const bytes of [small, large]) {
    for (const sizeBytes of [bytes.byteLength - 1, bytes.byteLength + 1])
      await assert.rejects(client.uploadBlob({ sizeBytes, read: blobOf(bytes).read }), { code: 'FILE_CHANGED' });
    await assert.rejects(client.uploadBlob(blobOf(bytes), { expected: digestOf('something else') }), { code: 'DIGEST_MISMATCH' });
  }
  assert.equal(registry.blobs.size, 0);
});

test('an error of the source is the error of the upload', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  for (const bytes of [small, large]) {
    const source = {
      sizeBytes: bytes.byteLength,
      async *read() {
        yield bytes.subarray(0, 10);
        throw new ChainloopError('FILE_UNREADABLE', 'the disk is broken');
      },
    };
    await assert.rejects(client.uploadBlob(source), { code: 'FILE_UNREADABLE' });
  }
});

test('an abort signal ends an upload with its reason', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  const reason = new ChainloopError('CONTROL_PLANE_UNREACHABLE', 'stopping');
  const controller = new AbortController();
  const upload = client.uploadBlob(blobOf(large), { signal: controller.signal, onProgress: () => controller.abort(reason) });
  await assert.rejects(upload, (error) => error === reason);
});

test('a registry that says it stored other bytes is not believed', async () => {
  await using registry = await startTinyRegistry();
  await using proxy = await startFaultProxy({ target: registry.origin });
  const headers = { 'docker-content-digest': digestOf('lies') };
  proxy.inject({ type: 'status', status: 201, headers, method: 'PUT' });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.uploadBlob(blobOf(small)), { code: 'DIGEST_MISMATCH' });
});
