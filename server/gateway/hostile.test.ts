import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestOf, hexOf } from '../../core/digest.ts';
import { ChainloopError, type ErrorCode } from '../../core/errors.ts';
import { startGateway, tokens } from '../../test/fakes/gateway.ts';
import { call } from '../../test/fakes/http-call.ts';
import { until } from '../../test/until.ts';
import { openLayout } from '../storage/layout.ts';
import { pushBlob, type Storage } from '../storage/storage.ts';

const bytes = randomBytes(1_000_000);
const digest = digestOf(bytes);
const token = tokens.api;

/** A raw connection: for what no HTTP client would send. */
async function dial(origin: string): Promise<Socket> {
  const socket = connect(Number(new URL(origin).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => {});
  return socket;
}

async function answerOf(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  socket.on('data', (piece) => pieces.push(piece));
  await once(socket, 'close');
  return Buffer.concat(pieces).toString('latin1');
}

const head = (method: string, path: string, more: string): string =>
  `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;

test('paths that lead outside lead nowhere', async () => {
  await using gateway = await startGateway();
  await writeFile(join(gateway.directory, '..', 'secret'), 'secret');
  for (const path of [
    '/v2/acme/blobs/../../secret',
    '/v2/acme/../other/tags/list',
    '/v2/../../etc/passwd',
    '/v2/acme/manifests/..%2f..%2fsecret',
    '/v2/acme/manifests/%2e%2e',
    '/v2/acme/manifests/.chainloop',
    '/v2/acme/blobs/uploads/..%2f..%2findex.json',
    '/v2/acme/blobs/uploads/%00',
    '/v2/acme/blobs/sha256:../../index.json',
    '/v2/acme/blobs/%E0%A4%A',
    '/v2//acme/tags/list',
    '/v2/acme//tags/list',
    '/v2/acme/tags/list/',
    '/v2/ACME/tags/list',
    '/v2/acme%2Ftags/list',
    '/v2/library/acme/tags/list',
    '/v2/_catalog',
    '/v2/__proto__/tags/list',
    '/v2/acme/constructor/x',
    '/v1/acme',
  ]) {
    const answer = await call(gateway.origin, 'GET', path, { token });
    assert.ok(answer.status === 404 || answer.status === 400, `${path}: ${answer.status}`);
    assert.ok(answer.code !== undefined, path);
    assert.doesNotMatch(answer.body.toString(), /^secret|root:/);
  }
  assert.equal((await call(gateway.origin, 'constructor', '/v2/acme/tags/list', { token })).status, 400);
  assert.deepEqual(gateway.errors, []);
});

test('a header of 20 KB, or a thousand of them, is refused by the server itself', async () => {
  await using gateway = await startGateway();
  const one = await call(gateway.origin, 'GET', '/v2/', { token, headers: { x: 'x'.repeat(20_000) } });
  assert.equal(one.status, 431);
  const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`x-${index}`, 'x'.repeat(20)]));
  assert.equal((await call(gateway.origin, 'GET', '/v2/', { token, headers: many })).status, 431);
});

test('a body shorter than its Content-Length is no blob, and can be resumed', async () => {
  await using gateway = await startGateway();
  const { session } = await gateway.storage.beginUpload();
  const socket = await dial(gateway.origin);
  socket.write(head('PATCH', `/v2/acme/blobs/uploads/${session}`, `Content-Length: ${bytes.byteLength}\r\n`));
  socket.end(bytes.subarray(0, 400_000));
  await answerOf(socket);
  await requestsOf(gateway, 1);
  assert.equal((await gateway.storage.uploadStatus(session)).offset, 400_000);
  const rest = await call(gateway.origin, 'PUT', `/v2/acme/blobs/uploads/${session}?digest=${digest}`, {
    token,
    body: bytes.subarray(400_000),
  });
  assert.equal(rest.status, 201);
  assert.equal(gateway.samples[0]?.status, 499);
  assert.deepEqual(gateway.errors, []);
});

test('a connection that is reset in the middle, 20 times at random places, loses nothing that arrived', async () => {
  await using gateway = await startGateway();
  for (let trial = 1; trial <= 20; trial++) {
    const content = randomBytes(600_000);
    const { session } = await gateway.storage.beginUpload();
    const socket = await dial(gateway.origin);
    const cut = Math.floor(Math.random() * content.byteLength);
    socket.write(head('PATCH', `/v2/acme/blobs/uploads/${session}`, `Content-Length: ${content.byteLength}\r\n`));
    socket.write(content.subarray(0, cut), () => socket.resetAndDestroy());
    await once(socket, 'close');
    const status = await call(gateway.origin, 'GET', `/v2/acme/blobs/uploads/${session}`, { token });
    assert.equal(status.status, 204);
    assert.equal(await gateway.storage.stat(digestOf(content)), undefined);
    // The bytes that the system had taken may still be on their way into the file: the resumed request takes over.
    for (let tries = 1; ; tries++) {
      const { offset } = await gateway.storage.uploadStatus(session);
      const range = `${offset}-${content.byteLength - 1}`;
      const path = `/v2/acme/blobs/uploads/${session}?digest=${digestOf(content)}`;
      const answer = await call(gateway.origin, 'PUT', path, {
        token,
        body: content.subarray(offset),
        headers: { 'content-range': range },
      });
      if (answer.status === 416 && tries < 1000) continue;
      assert.equal(answer.status, 201);
      break;
    }
    assert.deepEqual(await gateway.storage.stat(digestOf(content)), { sizeBytes: content.byteLength });
  }
});

test('a client that stops sending is cut off after the idle timeout, and one that is only slow is not', async () => {
  await using gateway = await startGateway({ idleTimeoutMs: 1_000 });
  const stalled = await gateway.storage.beginUpload();
  const socket = await dial(gateway.origin);
  socket.write(head('PATCH', `/v2/acme/blobs/uploads/${stalled.session}`, 'Content-Length: 1000\r\n'));
  socket.write('x'.repeat(10));
  assert.equal(await answerOf(socket), '');
  await requestsOf(gateway, 1);
  assert.equal((await gateway.storage.uploadStatus(stalled.session)).offset, 10);

  const slow = await gateway.storage.beginUpload();
  const dripping = await dial(gateway.origin);
  dripping.write(
    head('PUT', `/v2/acme/blobs/uploads/${slow.session}?digest=${digestOf('x'.repeat(8))}`, 'Connection: close\r\nContent-Length: 8\r\n'),
  );
  const answered = answerOf(dripping);
  let sent = 0;
  const timer = setInterval(() => {
    dripping.write('x');
    if (++sent === 8) clearInterval(timer);
  }, 150);
  assert.match(await answered, /^HTTP\/1\.1 201 /);
});

test('a client that sends on after a refusal gets to read it, and the connection ends', async () => {
  await using gateway = await startGateway();
  for (const [path, status] of [
    ['/v2/nobody/blobs/uploads/x', 404],
    ['/v2/acme/blobs/uploads/x', 404],
  ]) {
    const socket = await dial(gateway.origin);
    socket.write(head('PATCH', String(path), `Content-Length: ${100 * bytes.byteLength}\r\n`));
    const answered = answerOf(socket);
    socket.write(bytes);
    const text = await answered;
    assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
    assert.match(text, /connection: close/i);
    assert.ok((gateway.samples.at(-1)?.receivedBytes ?? 0) === 0);
  }
});

test('bytes that were changed on disk are never sent as a whole blob', async () => {
  await using gateway = await startGateway();
  await pushBlob(gateway.storage, bytes, digest);
  const changed = Buffer.from(bytes);
  changed[999_999] = (changed[999_999] ?? 0) ^ 1;
  await writeFile(join(gateway.directory, 'blobs', 'sha256', hexOf(digest)), changed);
  const answer = await call(gateway.origin, 'GET', `/v2/acme/blobs/${digest}`, { token });
  assert.deepEqual([answer.status, answer.headers['x-chainloop-error']], [500, 'DIGEST_MISMATCH']);
  assert.match(answer.body.toString(), /changed on disk/);
  assert.equal((await call(gateway.origin, 'HEAD', `/v2/acme/blobs/${digest}`, { token })).status, 404);
});

test('failures of the storage are answers with their own status and code, and a defect shows nothing', async (t) => {
  const layout = await openLayout(join((await startGatewayDirectory(t)).directory, 'x'));
  const rows: readonly (readonly [ErrorCode, number, string])[] = [
    ['DISK_FULL', 507, 'UNKNOWN'],
    ['RATE_LIMITED', 429, 'TOOMANYREQUESTS'],
    ['REGISTRY_UNAVAILABLE', 503, 'UNAVAILABLE'],
    ['STORAGE_UNAVAILABLE', 503, 'UNAVAILABLE'],
    ['REGISTRY_UNAUTHORIZED', 502, 'UNKNOWN'],
    ['REGISTRY_ERROR', 502, 'UNKNOWN'],
    ['INTERNAL', 500, 'UNKNOWN'],
  ];
  let next: unknown;
  const failing: Storage = { ...layout, beginUpload: () => Promise.reject(next), append: () => Promise.reject(next) };
  await using gateway = await startGateway({ storage: failing });
  for (const [ours, status, theirs] of rows) {
    next = ours === 'INTERNAL' ? new Error('SELECT password') : new ChainloopError(ours, 'what to do');
    const answer = await call(gateway.origin, 'POST', '/v2/acme/blobs/uploads/', { token });
    assert.deepEqual([answer.status, answer.code], [status, theirs], ours);
    if (ours === 'INTERNAL') {
      assert.match(answer.body.toString(), /internal error; request id [0-9a-f-]{36}/);
      assert.doesNotMatch(answer.body.toString(), /SELECT|stack/);
    } else {
      assert.deepEqual(JSON.parse(answer.body.toString()).errors[0].detail, { code: ours });
    }
    if (status === 429 || status === 503) assert.equal(answer.headers['retry-after'], '1');
  }
  assert.equal(gateway.errors.length, 1);
});

test('a stopping gateway finishes what is under way, and refuses what is new', async () => {
  await using gateway = await startGateway();
  const { session } = await gateway.storage.beginUpload();
  const socket = await dial(gateway.origin);
  socket.write(
    head('PUT', `/v2/acme/blobs/uploads/${session}?digest=${digest}`, `Connection: close\r\nContent-Length: ${bytes.byteLength}\r\n`),
  );
  socket.write(bytes.subarray(0, 1000));
  const answered = answerOf(socket);
  // The request is there when its first bytes are being waited for.
  await call(gateway.origin, 'GET', '/v2/', { token });
  const drained = gateway.drain();
  const refused = await call(gateway.origin, 'GET', '/v2/', { token });
  assert.deepEqual([refused.status, refused.code, refused.headers['retry-after']], [503, 'UNAVAILABLE', '1']);
  socket.write(bytes.subarray(1000));
  assert.match(await answered, /^HTTP\/1\.1 201 /);
  await drained;
  assert.deepEqual(await readdir(join(gateway.directory, '.chainloop', 'uploads')), []);
});

/** Waits until the gateway is done with that many requests. */
async function requestsOf(gateway: { readonly samples: readonly unknown[] }, count: number): Promise<void> {
  await until('the gateway is done', () => gateway.samples.length >= count, { everyMs: 0 });
}

async function startGatewayDirectory(t: { after(fn: () => Promise<void>): void }): Promise<{ readonly directory: string }> {
  const gateway = await startGateway();
  t.after(() => gateway[Symbol.asyncDispose]());
  return gateway;
}
