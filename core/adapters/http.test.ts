import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { test } from 'node:test';
import { blobOf, seededBytes } from '../../test/fakes/bytes.ts';
import { listen } from '../../test/fakes/listen.ts';
import { startTrap } from '../../test/fakes/trap.ts';
import { digestOf } from '../digest.ts';
import { ChainloopError } from '../errors.ts';
import { addressKind } from './address.ts';
import { createHttp } from './http.ts';
import { HttpFailure } from './http-failure.ts';

const serve = (listener: RequestListener) => listen(createServer(listener));

function fails(reason: HttpFailure['reason'], secret?: string) {
  return (error: unknown) => {
    assert.ok(error instanceof HttpFailure, String(error));
    assert.equal(error.reason, reason, error.message);
    assert.ok(secret === undefined || !error.message.includes(secret), error.message);
    return true;
  };
}

test('a body from a source that reuses its buffer arrives unchanged, with and without a length', async () => {
  const bytes = seededBytes(5_000_000, 'http');
  await using server = await serve(async (request, response) => {
    const pieces: Buffer[] = await request.toArray();
    response.end(`${request.headers['content-length']} ${digestOf(Buffer.concat(pieces))}`);
  });
  const http = createHttp();
  for (const sizeBytes of [bytes.byteLength, undefined]) {
    const { read } = blobOf(bytes, 700_001);
    const answer = await http.request({ method: 'PUT', url: new URL(server.origin), body: { sizeBytes, read } });
    assert.equal((await answer.bytes(1000)).toString(), `${sizeBytes} ${digestOf(bytes)}`);
  }
  http.close();
});

test('the source is asked for no more than the other side takes', async () => {
  let askedFor = 0;
  await using server = await serve((request) => request.pause());
  const controller = new AbortController();
  const http = createHttp();
  const piece = Buffer.alloc(1024 * 1024);
  async function* endless() {
    for (;;) {
      askedFor++;
      yield piece;
    }
  }
  const sending = http.request({
    method: 'PUT',
    url: new URL(server.origin),
    body: { read: endless },
    idleTimeoutMs: 200,
    signal: controller.signal,
  });
  await assert.rejects(sending, fails('timeout'));
  assert.ok(askedFor < 32, `${askedFor} MiB were read ahead`);
  http.close();
});

test('an answer before the end of the body stops the sending', async () => {
  await using server = await serve((_request, response) => response.writeHead(413).end('too large'));
  let read = 0;
  async function* long() {
    for (; read < 2000; read++) yield Buffer.alloc(256 * 1024);
  }
  const http = createHttp();
  const answer = await http.request({ method: 'PUT', url: new URL(server.origin), body: { read: long } });
  assert.equal(answer.status, 413);
  assert.equal(await answer.excerpt(100), 'too large');
  assert.ok(read < 1000, `${read} pieces were sent`);
  http.close();
});

test('silence is a timeout: before the answer, and inside its body; a slow reader is not', async () => {
  await using server = await serve((request, response) => {
    if (request.url?.startsWith('/body') === true) response.writeHead(200, { 'content-length': 1000 }).write('begin');
    if (request.url === '/whole') response.end(Buffer.alloc(1_000_000));
  });
  const http = createHttp();
  await assert.rejects(
    http.request({ method: 'GET', url: new URL('/head?secret', server.origin), answerTimeoutMs: 50 }),
    fails('timeout', 'secret'),
  );
  const stalled = await http.request({ method: 'GET', url: new URL('/body?secret', server.origin), idleTimeoutMs: 50 });
  await assert.rejects(stalled.bytes(10_000), fails('timeout', 'secret'));
  const whole = await http.request({ method: 'GET', url: new URL('/whole', server.origin), idleTimeoutMs: 500 });
  let size = 0;
  for await (const piece of whole.body) {
    if (size === 0) await once(AbortSignal.timeout(700), 'abort');
    size += piece.byteLength;
  }
  assert.equal(size, 1_000_000);
  http.close();
});

test('failures say what happened, without query or userinfo', async () => {
  await using server = await serve((request, response) => {
    if (request.url?.startsWith('/cut')) {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('begin', () => request.socket.resetAndDestroy());
    } else request.socket.resetAndDestroy();
  });
  const http = createHttp();
  const get = (url: string) => http.request({ method: 'GET', url: new URL(url) });
  await assert.rejects(get(`${server.origin}/reset?secret`), fails('broken', 'secret'));
  await assert.rejects((await get(`${server.origin}/cut?secret`)).bytes(10_000), fails('broken', 'secret'));
  await assert.rejects(get('http://127.0.0.1:9/?secret'), fails('unreachable', 'secret'));
  await assert.rejects(get(`http://user:secret@${server.host}/`), fails('address', 'secret'));
  await assert.rejects(get('ftp://127.0.0.1/'), fails('address'));
  http.close();
});

test('an answer that is larger than its limit is not read on', async () => {
  await using server = await serve((_request, response) => {
    const more = () => {
      while (response.write(Buffer.alloc(65_536))) {}
    };
    response.on('drain', more);
    more();
  });
  const http = createHttp();
  const get = () => http.request({ method: 'GET', url: new URL(server.origin) });
  await assert.rejects((await get()).bytes(100_000), { code: 'LIMIT_EXCEEDED' });
  assert.equal((await (await get()).excerpt(100)).length, 100);
  http.close();
});

test('a source that fails ends the request with its own error', async () => {
  await using server = await serve(() => {});
  const http = createHttp();
  async function* broken() {
    yield Buffer.from('begin');
    throw new ChainloopError('FILE_CHANGED', 'it changed');
  }
  await assert.rejects(http.request({ method: 'PUT', url: new URL(server.origin), body: { read: broken } }), { code: 'FILE_CHANGED' });
  http.close();
});

test('redirects are answers', async () => {
  await using trap = await startTrap();
  await using server = await serve((_request, response) => response.writeHead(307, { location: trap.origin }).end());
  const http = createHttp();
  const answer = await http.request({ method: 'GET', url: new URL(server.origin) });
  assert.deepEqual([answer.status, answer.header('location')], [307, trap.origin]);
  answer.discard();
  assert.deepEqual(trap.seen, []);
  http.close();
});

test('S12: an address that is not allowed is not called, under its number or under a name that leads to it', async () => {
  await using trap = await startTrap();
  const http = createHttp({ allowAddress: (address) => addressKind(address) !== 'loopback' });
  const { port } = new URL(trap.origin);
  for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '2130706433', '0x7f.1'])
    await assert.rejects(http.request({ method: 'GET', url: new URL(`http://${host}:${port}/`) }), fails('address'), host);
  assert.deepEqual(trap.seen, []);
  http.close();
});

test('a host that takes the connection and does not speak TLS is given up', async () => {
  const silent = createNetServer((socket) => socket.on('error', () => undefined).resume());
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const address = silent.address();
  assert.ok(typeof address === 'object' && address !== null);
  const http = createHttp({ connectTimeoutMs: 100 });
  await assert.rejects(http.request({ method: 'GET', url: new URL(`https://127.0.0.1:${address.port}`) }), fails('unreachable'));
  http.close();
  silent.close();
});

test('the proxy that Node was told to use is used, but not where addresses are judged', async () => {
  await using target = await serve((_, response) => response.end('target'));
  await using proxy = await serve((request, response) => response.end(`proxy of ${request.url}`));
  const before = { ...process.env };
  Object.assign(process.env, { NODE_USE_ENV_PROXY: '1', http_proxy: proxy.origin, no_proxy: '' });
  try {
    const found = [];
    for (const http of [createHttp(), createHttp({ allowAddress: () => true })]) {
      const answer = await http.request({ method: 'GET', url: new URL(`${target.origin}/path`) });
      found.push((await answer.bytes(1000)).toString());
      http.close();
    }
    assert.deepEqual(found, [`proxy of ${target.origin}/path`, 'target']);
  } finally {
    process.env = before;
  }
});
