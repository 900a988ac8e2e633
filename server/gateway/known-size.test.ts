import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { digestOf } from '../../core/digest.ts';
import { limits } from '../../core/limits.ts';
import { blobOf, seededBytes } from '../../test/fakes/bytes.ts';
import { startFaultProxy } from '../../test/fakes/fault-proxy.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';

// What is sent in one pass has no digest beforehand. The gateway says that it has a blob of that size, and the client hashes first.

const sizeBytes = limits.singleRequestUploadSizeBytes + 1_000_001;
const first = seededBytes(sizeBytes, 'first');
const other = seededBytes(sizeBytes, 'other');

async function scene() {
  const stack = new AsyncDisposableStack();
  const gateway = stack.use(await startGateway());
  const proxy = stack.use(await startFaultProxy({ target: gateway.origin }));
  const credentials = { type: 'bearer', token: async () => tokens.job } as const;
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', credentials, fetchPolicy: { baseDelayMs: 4 } });
  await client.uploadBlob(blobOf(first));
  const openUploads = () => readdir(join(gateway.directory, '.chainloop', 'uploads'));
  return { gateway, proxy, client, openUploads, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

test('a large file that is there is read once and not sent; one with a new size is sent in one pass', async () => {
  await using at = await scene();
  assert.equal(at.proxy.bodyBytes(), sizeBytes);
  const again = await at.client.uploadBlob(blobOf(first));
  assert.deepEqual(again, { digest: digestOf(first), sizeBytes, existed: true });
  assert.equal(at.proxy.bodyBytes(), sizeBytes, 'no byte of it was sent again');
  assert.deepEqual(await at.openUploads(), []);
});

test('another file of the same size is sent, whole', async () => {
  await using at = await scene();
  assert.deepEqual(await at.client.uploadBlob(blobOf(other)), { digest: digestOf(other), sizeBytes, existed: false });
  assert.equal(at.proxy.bodyBytes(), 2 * sizeBytes);
  assert.deepEqual(await at.gateway.storage.stat(digestOf(other)), { sizeBytes });
});

test('a file that changes after it was hashed is refused, and neither of its contents is kept', async () => {
  await using at = await scene();
  const contents = [other, seededBytes(sizeBytes, 'changed')];
  const source = { sizeBytes, read: (offset?: number) => blobOf(contents.shift() ?? Buffer.alloc(0)).read(offset) };
  await assert.rejects(at.client.uploadBlob(source), { code: 'DIGEST_MISMATCH' });
  assert.equal(await at.gateway.storage.stat(digestOf(other)), undefined);
  assert.deepEqual(await at.openUploads(), []);
});

test('a connection that breaks while a file of a known size is sent goes on where it was', async () => {
  await using at = await scene();
  at.proxy.inject({ type: 'cutRequest', method: 'PATCH', afterBytes: 3_000_000, times: 2 });
  await at.client.uploadBlob(blobOf(other));
  assert.equal(at.proxy.bodyBytes(), 2 * sizeBytes, 'no byte twice');
  assert.deepEqual(await at.gateway.storage.stat(digestOf(other)), { sizeBytes });
});
