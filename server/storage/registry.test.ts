import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { type TestContext, test } from 'node:test';
import { addressKind } from '../../core/adapters/address.ts';
import { type Digest, digestOf } from '../../core/digest.ts';
import { type Registry, startRegistry } from '../../test/fakes/docker-registry.ts';
import { type Fault, type FaultProxy, startFaultProxy } from '../../test/fakes/fault-proxy.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { call } from '../../test/fakes/http-call.ts';
import { listen } from '../../test/fakes/listen.ts';
import { needs } from '../../test/needs.ts';
import { until } from '../../test/until.ts';
import { createSecrets } from '../sealing.ts';
import { checkStorage } from './check.ts';
import { createRegistryStorage } from './registry.ts';
import { pushBlob, type Storage } from './storage.ts';

const secrets = createSecrets(randomBytes(32));
const fetchPolicy = { attempts: 3, baseDelayMs: 1, maxDelayMs: 5 };

function storageAt(
  origin: string,
  options: { username?: string; password?: string; organizationId?: string; allowAddress?: (a: string) => boolean } = {},
): Storage {
  const { username, password, organizationId = 'acme', allowAddress } = options;
  return createRegistryStorage({
    client: {
      origin,
      repository: 'acme/evidence',
      fetchPolicy,
      ...(username === undefined || password === undefined ? {} : { credentials: { type: 'basic', username, password } }),
      ...(allowAddress === undefined ? {} : { allowAddress }),
    },
    organizationId,
    secrets,
  });
}

type Running = {
  readonly registry: Registry;
  readonly proxy: FaultProxy;
  readonly storage: Storage;
  [Symbol.asyncDispose](): Promise<void>;
};

async function behindFaults(...faults: readonly Fault[]): Promise<Running> {
  const registry = await startRegistry();
  const proxy = await startFaultProxy({ target: registry.origin, faults });
  const storage = storageAt(proxy.origin);
  return {
    registry,
    proxy,
    storage,
    async [Symbol.asyncDispose]() {
      await storage.close();
      await proxy[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
    },
  };
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += 65_536) yield bytes.subarray(start, start + 65_536);
}

async function contentOf(storage: Storage, digest: Digest): Promise<Buffer> {
  const found: Uint8Array[] = [];
  for await (const piece of (await storage.fetch(digest))?.body ?? []) found.push(piece);
  return Buffer.concat(found);
}

const large = randomBytes(4 * 1024 * 1024);
const largeDigest = digestOf(large);

test('an upload goes on in another server process: the session says where, sealed', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults();
  const begun = await running.storage.beginUpload();
  const half = await running.storage.append(begun.session, 0, pieces(large.subarray(0, 1_000_000)));
  assert.match(half.session, /^[A-Za-z0-9._-]+$/);
  assert.doesNotMatch(Buffer.from(half.session, 'base64url').toString('latin1'), /_state|uploads/);
  const replica = storageAt(running.proxy.origin);
  assert.equal((await replica.uploadStatus(half.session)).offset, 1_000_000);
  await replica.finish(half.session, largeDigest, { offset: 1_000_000, body: pieces(large.subarray(1_000_000)) });
  assert.deepEqual(await contentOf(replica, largeDigest), large);
  await replica.close();
});

test('the requests of one upload may go to two server processes in turn', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults();
  const replica = storageAt(running.proxy.origin);
  let upload = await running.storage.beginUpload();
  for (const [index, end] of [1_000_000, 2_000_000, 3_000_000].entries()) {
    const server = index % 2 === 0 ? running.storage : replica;
    upload = await server.append(upload.session, upload.offset, pieces(large.subarray(upload.offset, end)));
  }
  await replica.finish(upload.session, largeDigest, { offset: 3_000_000, body: pieces(large.subarray(3_000_000)) });
  assert.deepEqual(await contentOf(replica, largeDigest), large);
  await replica.close();
});

test('a session is of no use for another organization, in another repository, or changed', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults();
  const { session } = await running.storage.beginUpload();
  const other = storageAt(running.proxy.origin, { organizationId: 'other' });
  await assert.rejects(other.uploadStatus(session), { code: 'NOT_FOUND' });
  await assert.rejects(storageAt(running.registry.origin).uploadStatus(session), { code: 'NOT_FOUND' });
  for (const at of [0, 10, session.length - 10]) {
    const changed = `${session.slice(0, at)}${session[at] === 'A' ? 'B' : 'A'}${session.slice(at + 1)}`;
    await assert.rejects(running.storage.uploadStatus(changed), { code: 'NOT_FOUND' });
  }
});

test('bytes that are not those of the digest never reach the end of an upload, even of a registry that would take them', async () => {
  // A registry that believes everything.
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      const location = '/v2/acme/evidence/blobs/uploads/1';
      response.writeHead(request.method === 'PUT' ? 201 : 202, { location, 'content-length': '0' }).end();
      puts += request.method === 'PUT' ? 1 : 0;
    });
  });
  let puts = 0;
  await using running = await listen(server);
  const storage = storageAt(running.origin);
  for (const size of [1000, large.byteLength]) {
    const { session } = await storage.beginUpload();
    const body = pieces(large.subarray(0, size));
    await assert.rejects(storage.finish(session, digestOf('another'), { offset: 0, body }), { code: 'DIGEST_MISMATCH' });
  }
  assert.equal(puts, 0);
  await storage.close();
});

test('bytes that the registry changed are noticed before the last of them is handed out', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults();
  await pushBlob(running.storage, large, largeDigest);
  running.proxy.inject({ type: 'corruptResponse', method: 'GET', path: /blobs/, times: 9 });
  let sizeBytes = 0;
  await assert.rejects(
    async () => {
      for await (const piece of (await running.storage.fetch(largeDigest))?.body ?? []) sizeBytes += piece.byteLength;
    },
    { code: 'DIGEST_MISMATCH' },
  );
  assert.ok(sizeBytes < large.byteLength);
});

test('an answer that is lost at the end of an upload does not lose the upload', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults({ type: 'loseAnswer', method: 'PUT', path: /uploads/ });
  const { session } = await running.storage.beginUpload();
  await running.storage.finish(session, largeDigest, { offset: 0, body: pieces(large) });
  assert.deepEqual(await contentOf(running.storage, largeDigest), large);
});

test('a registry that fails in the middle is told to the client, who begins again and gets through', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults(
    { type: 'cutRequest', method: 'PATCH', afterBytes: 1_000_000 },
    { type: 'status', method: 'PATCH', status: 503 },
  );
  await using gateway = await startGateway({ storage: running.storage });
  const token = tokens.job;
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    const { headers } = await call(gateway.origin, 'POST', '/v2/acme/blobs/uploads/', { token });
    const patched = await call(gateway.origin, 'PATCH', String(headers.location), { token, body: large });
    statuses.push(patched.status);
    if (patched.status !== 202) continue;
    const done = await call(gateway.origin, 'PUT', `${patched.headers.location}?digest=${largeDigest}`, { token });
    statuses.push(done.status);
  }
  assert.deepEqual(statuses, [503, 503, 202, 201]);
  assert.deepEqual(gateway.errors, []);
  assert.deepEqual(await contentOf(running.storage, largeDigest), large);
});

test('a job whose connection breaks resumes through the gateway, though the registry would have lost the upload', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using running = await behindFaults();
  await using gateway = await startGateway({ storage: running.storage });
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
  assert.deepEqual(await contentOf(running.storage, largeDigest), large);
});

const advice: readonly (readonly [string, Fault, string, RegExp])[] = [
  ['401', { type: 'status', status: 401, times: 9 }, 'REGISTRY_UNAUTHORIZED', /--username/],
  ['403', { type: 'status', status: 403, times: 9 }, 'REGISTRY_UNAUTHORIZED', /may not/],
  ['404', { type: 'status', status: 404, method: 'POST', times: 9 }, 'REGISTRY_ERROR', /name of the repository/],
  ['429', { type: 'status', status: 429, headers: { 'retry-after': '0' }, times: 9 }, 'RATE_LIMITED', /try again/],
  ['500', { type: 'status', status: 500, times: 9 }, 'REGISTRY_UNAVAILABLE', /later/],
  ['507', { type: 'status', status: 507, times: 9 }, 'DISK_FULL', /room/],
];

for (const [name, fault, code, message] of advice) {
  test(`the check of a registry that answers ${name} says what to do`, async (t: TestContext) => {
    if (!needs(t, 'docker-registry')) return;
    await using running = await behindFaults(fault);
    await assert.rejects(checkStorage(running.storage, 'test'), (error: unknown) => {
      assert.ok(error instanceof Error && 'code' in error);
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  });
}

test('the check of a registry that nobody answers for, or with the wrong password, says so', async (t) => {
  await assert.rejects(checkStorage(storageAt('http://127.0.0.1:1'), 'test'), { code: 'REGISTRY_UNAVAILABLE' });
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  const storage = storageAt(registry.origin, { username: registry.username, password: 'wrong-secret-password' });
  await assert.rejects(checkStorage(storage, 'test'), (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, 'REGISTRY_UNAUTHORIZED');
    assert.doesNotMatch(error.message, /wrong-secret-password/);
    return true;
  });
  await storage.close();
});

test('SSRF: a registry at an address that the server must not call sees no request', async () => {
  const seen: string[] = [];
  const trap = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end();
  });
  await using running = await listen(trap);
  const port = new URL(running.origin).port;
  const allowAddress = (address: string): boolean => addressKind(address) === 'public';
  for (const host of [
    '127.0.0.1',
    'localhost',
    '[::ffff:127.0.0.1]',
    '[::1]',
    '0x7f000001',
    '127.1',
    '169.254.169.254',
    '10.0.0.1',
    '[fd00::1]',
  ]) {
    const storage = storageAt(new URL(`http://${host}:${port}`).origin, { allowAddress });
    await assert.rejects(
      checkStorage(storage, 'test'),
      (error: unknown) => error instanceof Error && 'code' in error && /^REGISTRY_/.test(String(error.code)),
      host,
    );
    await storage.close();
  }
  assert.deepEqual(seen, []);
});

test('SSRF: a registry that sends the server elsewhere is not followed, and gets no credentials there', async () => {
  const seen: unknown[] = [];
  const trap = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end();
  });
  await using trapped = await listen(trap, '127.0.0.2');
  const registry = createServer((request, response) => {
    request.resume();
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${trapped.origin}/token",service="x"` }).end();
    } else response.writeHead(202, { location: `${trapped.origin}/v2/acme/evidence/blobs/uploads/1` }).end();
  });
  await using running = await listen(registry);
  // Loopback is allowed here as with --allow-private-registries; 127.0.0.2 stands for what must not be called.
  const storage = storageAt(running.origin, { username: 'u', password: 'p', allowAddress: (address) => address === '127.0.0.1' });
  await assert.rejects(storage.beginUpload(), { code: /^REGISTRY_/ });
  assert.deepEqual(seen, []);
  await storage.close();
});

test('a registry that wants chunks of some size says so through the gateway', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  const location = '/v2/acme/evidence/blobs/uploads/1';
  const opened = { type: 'status', status: 202, headers: { location, 'oci-chunk-min-length': '5242880' }, method: 'POST' } as const;
  await using running = await behindFaults(opened);
  await using gateway = await startGateway({ storage: running.storage });
  const begin = async (): Promise<unknown> => {
    const { status, headers } = await call(gateway.origin, 'POST', '/v2/acme/blobs/uploads/', { token: tokens.api });
    assert.equal(status, 202);
    return headers['oci-chunk-min-length'];
  };
  assert.deepEqual([await begin(), await begin()], ['5242880', undefined]);
});
