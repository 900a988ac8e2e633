import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { blobOf, seededBytes } from '../../../test/fakes/bytes.ts';
import { startRegistry } from '../../../test/fakes/docker-registry.ts';
import { type Fault, startFaultProxy } from '../../../test/fakes/fault-proxy.ts';
import { startTinyRegistry } from '../../../test/fakes/tiny-registry.ts';
import { needs } from '../../../test/needs.ts';
import { digestOf } from '../../digest.ts';
import { createRegistryClient } from './client.ts';

const fast = { baseDelayMs: 4, maxDelayMs: 40 };
const bytes = seededBytes(5_000_001, 'download');
const digest = digestOf(bytes);
const half = Math.floor(bytes.byteLength / 2);

const survivable: readonly { name: string; faults: readonly Fault[] }[] = [
  { name: 'nothing goes wrong', faults: [] },
  { name: 'a reset at the first byte', faults: [{ type: 'cutResponse', afterBytes: 0, method: 'GET' }] },
  { name: 'a reset after one byte', faults: [{ type: 'cutResponse', afterBytes: 1, method: 'GET' }] },
  { name: 'three resets in the middle', faults: [{ type: 'cutResponse', afterBytes: 1_000_000, method: 'GET', times: 3 }] },
  { name: 'a reset at the last byte', faults: [{ type: 'cutResponse', afterBytes: bytes.byteLength - 1, method: 'GET' }] },
  { name: 'a stalled body', faults: [{ type: 'stallResponse', afterBytes: half, method: 'GET' }] },
  {
    name: 'a failure, then a reset, then another failure',
    faults: [
      { type: 'status', status: 503, method: 'GET' },
      { type: 'cutResponse', afterBytes: half, method: 'GET' },
      { type: 'status', status: 500, method: 'GET' },
    ],
  },
];

test('F3, F4: a download survives broken and stalled connections, and reads no byte twice', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  await createRegistryClient({ origin: registry.origin, repository: 'acme' }).uploadBlob(blobOf(bytes));
  for (const { name, faults } of survivable) {
    await t.test(name, async () => {
      await using proxy = await startFaultProxy({ target: registry.origin, faults });
      const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: { ...fast, idleTimeoutMs: 1_000 } });
      const download = await client.fetchBlob(digest);
      assert.equal(download.sizeBytes, bytes.byteLength);
      assert.ok((await buffer(download.body)).equals(bytes));
      for (const request of proxy.requests.slice(1))
        if (request.headers.range !== undefined) assert.notEqual(request.headers.range, 'bytes=0-');
    });
  }
  await t.test('from an offset', async () => {
    const download = await createRegistryClient({ origin: registry.origin, repository: 'acme' }).fetchBlob(digest, { offset: half });
    assert.equal(download.sizeBytes, bytes.byteLength);
    assert.ok((await buffer(download.body)).equals(bytes.subarray(half)));
  });
});

test('a registry that ignores Range is read again from the beginning, and the bytes are right', async () => {
  await using registry = await startTinyRegistry();
  await createRegistryClient({ origin: registry.origin, repository: 'acme' }).uploadBlob(blobOf(bytes));
  await using proxy = await startFaultProxy({
    target: registry.origin,
    faults: [{ type: 'cutResponse', afterBytes: half, method: 'GET' }],
  });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  assert.ok((await buffer((await client.fetchBlob(digest)).body)).equals(bytes));
});

test('a registry that changes one byte is found out at the end of the body', async () => {
  await using registry = await startTinyRegistry();
  await createRegistryClient({ origin: registry.origin, repository: 'acme' }).uploadBlob(blobOf(bytes));
  await using proxy = await startFaultProxy({ target: registry.origin, faults: [{ type: 'corruptResponse', method: 'GET' }] });
  const client = createRegistryClient({ origin: proxy.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(buffer((await client.fetchBlob(digest)).body), { code: 'DIGEST_MISMATCH' });
});

test('a registry whose stored blob was cut short is found out', async (t) => {
  if (!needs(t, 'docker-registry')) return;
  await using registry = await startRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  await client.uploadBlob(blobOf(bytes));
  const blobs = join(registry.dataDir, 'docker', 'registry', 'v2', 'blobs', 'sha256', digest.slice(7, 9), digest.slice(7));
  assert.deepEqual(await readdir(blobs), ['data']);
  await writeFile(join(blobs, 'data'), bytes.subarray(0, half));
  await assert.rejects(
    client.fetchBlob(digest).then(({ body }) => buffer(body)),
    { code: 'DIGEST_MISMATCH' },
  );
});

test('a blob that is not there is NOT_FOUND', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  await assert.rejects(client.fetchBlob(digest), { code: 'NOT_FOUND' });
});

test('a reader that stops early leaves nothing open', async () => {
  await using registry = await startTinyRegistry();
  const client = createRegistryClient({ origin: registry.origin, repository: 'acme', fetchPolicy: fast });
  await client.uploadBlob(blobOf(bytes));
  for await (const piece of (await client.fetchBlob(digest)).body) {
    assert.ok(piece.byteLength > 0);
    break;
  }
});
