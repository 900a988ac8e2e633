import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blobOf, seededBytes } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { type Fault, startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { startTrap } from '../../../test/fakes/trap.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf } from '../../digest.ts';
import { isChainloopError } from '../../errors.ts';
import { createRegistryClient } from './client.ts';

const fast = { baseDelayMs: 4, maxDelayMs: 40 };
const account = { username: 'robot', password: 'canary-password' };
const credentials = { type: 'basic', ...account } as const;
const bytes = seededBytes(10_000, 'auth');

test('a registry with Basic authentication takes the right password only', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry({ auth: 'basic' });
  const { username, password } = registry;
  const options = { origin: registry.origin, repository: 'acme', fetchPolicy: fast };
  await createRegistryClient({ ...options, credentials: { type: 'basic', username, password } }).ping();
  const advice = 'log in with: docker login';
  for (const wrong of [
    { type: 'anonymous' },
    { type: 'basic', username, password: 'canary' },
    { type: 'bearer', token: 'canary' },
  ] as const) {
    await assert.rejects(createRegistryClient({ ...options, credentials: wrong, advice }).ping(), (error) => {
      assert.ok(isChainloopError(error, 'REGISTRY_UNAUTHORIZED'));
      assert.ok(error.message.includes(advice) && !error.message.includes('canary'));
      return true;
    });
  }
});

test('one token is bought for each access, however many requests need it, or lose it, at once', async () => {
  await using registry = await startTinyRegistry({ account });
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', credentials, fetchPolicy: fast });
  await Promise.all(Array.from({ length: 10 }, (_, index) => client.uploadBlob(blobOf(seededBytes(1000, String(index))))));
  assert.equal(registry.tokenRequests.length, 1);
  registry.expireTokens();
  await Promise.all(Array.from({ length: 10 }, (_, index) => client.uploadBlob(blobOf(seededBytes(1001, String(index))))));
  assert.equal(registry.tokenRequests.length, 2);
  await client.fetchBlob(digestOf(seededBytes(1000, '1'))).then(({ body }) => Array.fromAsync(body));
  assert.equal(registry.tokenRequests.length, 3);
});

test('a wrong password at the token server is REGISTRY_UNAUTHORIZED, and not repeated', async () => {
  await using registry = await startTinyRegistry({ account });
  const client = createRegistryClient({
    origin: registry.origin,
    repository: 'acme',
    credentials: { ...credentials, password: 'wrong' },
    fetchPolicy: fast,
  });
  await assert.rejects(client.ping(), { code: 'REGISTRY_UNAUTHORIZED' });
  assert.equal(registry.tokenRequests.length, 1);
});

test('no byte of a body is sent before the registry has taken the credentials', async () => {
  await using registry = await startTinyRegistry({ account });
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.uploadBlob(blobOf(seededBytes(9_000_000, 'big'))), { code: 'REGISTRY_UNAUTHORIZED' });
  assert.equal(proxy.bodyBytes(), 0);
});

// S12: what a hostile registry may say. `trap` is replaced by the address of a server that counts its callers.
const lures: readonly { name: string; fault: Fault; says: RegExp }[] = [
  {
    name: 'a token server on another host',
    fault: { type: 'status', status: 401, headers: { 'www-authenticate': 'Bearer realm="http://trap/token",service="x"' } },
    says: /is not known to belong to it; nothing was sent there/,
  },
  {
    name: 'a token server with userinfo',
    fault: { type: 'status', status: 401, headers: { 'www-authenticate': 'Bearer realm="http://user:pass@trap/token",service="x"' } },
    says: /nothing was sent there/,
  },
  {
    name: 'a token server that is a file',
    fault: { type: 'status', status: 401, headers: { 'www-authenticate': 'Bearer realm="file:///etc/passwd"' } },
    says: /nothing was sent there/,
  },
  {
    name: 'an upload location on another port',
    fault: { type: 'status', status: 202, headers: { location: 'http://trap/v2/acme/blobs/uploads/1' }, method: 'POST' },
    says: /which is not itself; nothing was sent there/,
  },
  {
    name: 'an upload location without a scheme',
    fault: { type: 'status', status: 202, headers: { location: '//trap/v2/acme/blobs/uploads/1' }, method: 'POST' },
    says: /which is not itself/,
  },
  { name: 'no upload location', fault: { type: 'status', status: 202, method: 'POST' }, says: /points to nowhere/ },
  {
    name: 'a redirect of an upload',
    fault: { type: 'status', status: 307, headers: { location: 'http://trap/' }, method: 'POST' },
    says: /redirects are not followed here/,
  },
  {
    name: 'a redirect with userinfo',
    fault: { type: 'status', status: 307, headers: { location: 'http://user:pass@trap/' }, method: 'HEAD' },
    says: /redirects to an address with credentials/,
  },
  {
    name: 'a redirect to a file',
    fault: { type: 'status', status: 302, headers: { location: 'file:///etc/passwd' }, method: 'HEAD' },
    says: /not https/,
  },
  {
    name: 'a redirect to a refused address',
    fault: { type: 'status', status: 307, headers: { location: 'http://trap/' }, method: 'HEAD' },
    says: /must not be called from here/,
  },
  {
    name: 'a redirect to a metadata service',
    fault: { type: 'status', status: 307, headers: { location: 'http://[::ffff:169.254.169.254]/' }, method: 'HEAD' },
    says: /must not be called from here/,
  },
  {
    name: 'endless redirects',
    fault: { type: 'status', status: 307, headers: { location: '/v2/acme/blobs/again' }, method: 'HEAD', times: 20 },
    says: /redirects more than 5 times/,
  },
];

for (const { name, fault, says } of lures) {
  test(`S12: after ${name} the client stops, and the trap sees neither request nor credentials`, async () => {
    await using trap = await startTrap('127.0.0.2');
    await using registry = await startTinyRegistry();
    const headers =
      fault.type === 'status'
        ? Object.fromEntries(Object.entries(fault.headers ?? {}).map(([key, value]) => [key, value.replace('trap', trap.host)]))
        : {};
    await using proxy = await startFaultProxy({ target: registry.origin });
    const client = createRegistryClient({
      origin: proxy.origin,
      repository: 'acme',
      credentials,
      fetchPolicy: fast,
      allowAddress: (address) => address === '127.0.0.1',
    });
    if (fault.method !== undefined) await client.ping();
    proxy.inject({ ...fault, ...(fault.type === 'status' ? { headers } : {}) });
    await assert.rejects(client.uploadBlob(blobOf(bytes)), (error) => {
      assert.ok(isChainloopError(error));
      assert.ok(['REGISTRY_ERROR', 'REGISTRY_UNAUTHORIZED'].includes(error.code), error.code);
      assert.match(error.message, says);
      assert.ok(!error.message.includes(account.password) && !error.message.includes('user:pass'));
      return true;
    });
    assert.deepEqual(trap.seen, []);
  });
}

test('S12: a download that is redirected to object storage goes there without credentials', async () => {
  await using trap = await startTrap();
  await using registry = await startTinyRegistry({ account });
  await using proxy = await startFaultProxy({ target: registry.origin });
  const client = createRegistryClient({
    origin: proxy.origin,
    repository: 'acme',
    credentials,
    tokenHosts: [registry.host],
    fetchPolicy: fast,
  });
  await client.uploadBlob(blobOf(bytes));
  proxy.inject({ type: 'status', status: 307, headers: { location: `${trap.origin}/signed?secret=1` }, method: 'GET', path: /blobs/ });
  await assert.rejects(
    client.fetchBlob(digestOf(bytes)).then(({ body }) => Array.fromAsync(body)),
    { code: 'DIGEST_MISMATCH' },
  );
  assert.deepEqual(trap.seen, [{ path: '/signed?secret=1', authorization: undefined }]);
});

test('a token server on another host is used when it is allowed by name', async () => {
  await using registry = await startTinyRegistry({ account });
  await using proxy = await startFaultProxy({ target: registry.origin });
  const options = { origin: proxy.origin, repository: 'acme', credentials, fetchPolicy: fast };
  await assert.rejects(createRegistryClient(options).ping(), { code: 'REGISTRY_UNAUTHORIZED' });
  assert.equal(registry.tokenRequests.length, 0);
  await createRegistryClient({ ...options, tokenHosts: [registry.host] }).ping();
  assert.equal(registry.tokenRequests.length, 1);
});

const origins = ['ftp://a', 'http://user:pass@a', 'http://a/path', 'http://a?query', 'a:5000', ''];

test('a default port and a trailing slash are the same origin', () => {
  for (const origin of ['https://registry.example:443', 'https://Registry.example/', 'https://registry.example'])
    assert.equal(createRegistryClient({ origin, repository: 'acme' }).origin, 'https://registry.example');
});

test('an origin that is more or less than scheme, host and port is refused without showing it', () => {
  for (const origin of origins)
    assert.throws(
      () => createRegistryClient({ origin, repository: 'acme' }),
      (error) => isChainloopError(error, 'USAGE') && !error.message.includes('pass'),
    );
  for (const repository of ['', 'UPPER', '../x', 'a//b', 'a?b'])
    assert.throws(() => createRegistryClient({ origin: 'https://a', repository }), { code: 'USAGE' });
});
