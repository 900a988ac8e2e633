import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sql } from 'drizzle-orm';
import { limits } from '../core/limits.ts';
import { openDatabase } from '../test/databases.ts';
import { type ControlPlane, startControlPlane } from '../test/fakes/control-plane.ts';
import { call as callOnce } from '../test/fakes/http-call.ts';
import { backupOf } from './http.ts';
import { createLog } from './log.ts';

const MiB = 1024 * 1024;

describe('bodies of any size and shape', () => {
  let plane: ControlPlane;
  let token: string;
  before(async () => {
    plane = await startControlPlane({ timeouts: { headMs: 1_000, bodyMs: 3_000 } });
    token = (await plane.createOrganization('acme')).token;
  });
  after(() => plane[Symbol.asyncDispose]());

  type Answer = {
    readonly status: number | undefined;
    readonly body: string;
    readonly error: { data: { code: string; problems?: unknown[] }; message: string };
  };

  /** A call whose body is written by hand. */
  async function call(
    path: string,
    write: (send: (piece: string | Buffer) => boolean, end: () => void) => void,
    options: RequestOptions = {},
  ): Promise<Answer> {
    const request = httpRequest(`${plane.url}/trpc/${path}`, {
      method: 'POST',
      ...options,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}`, ...options.headers },
    });
    // The server answers and hangs up before all is sent: that is what it should do.
    request.on('error', () => undefined);
    write(
      (piece) => request.write(piece),
      () => request.end(),
    );
    const [response]: IncomingMessage[] = await once(request, 'response');
    assert.ok(response);
    const body = await text(response);
    request.destroy();
    return { status: response.statusCode, body, error: JSON.parse(body).error };
  }

  const json = (path: string, value: unknown): Promise<Answer> =>
    call(path, (send, end) => {
      send(JSON.stringify(value));
      end();
    });

  // A body that does not come to its end is a 400 as soon as somebody waits for it (see below): 413 and 401 say that nobody did.
  test('a gigabyte that is announced is refused before it is sent', async () => {
    const { status, error } = await call('contract.create', (send) => send('{'), { headers: { 'content-length': 1024 * MiB } });
    assert.equal(status, 413);
    assert.equal(error.data.code, 'LIMIT_EXCEEDED');
  });

  test('a body without a length is read up to the limit and no further', async () => {
    let sentBytes = 0;
    const piece = Buffer.alloc(MiB, ' ');
    const { status, error } = await call('contract.create', (send) => {
      const more = setInterval(() => {
        if (sentBytes > 64 * MiB) return clearInterval(more);
        sentBytes += piece.length;
        send(piece);
      }, 1);
    });
    assert.equal(status, 413);
    assert.equal(error.data.code, 'LIMIT_EXCEEDED');
    assert.ok(sentBytes < 4 * limits.requestBodySizeBytes, `${sentBytes} bytes were taken`);
  });

  test('without a known token no body is read at all', async () => {
    for (const authorization of ['', 'Bearer chl_a_nothing']) {
      const { status } = await call('contract.create', (send) => send('{'), { headers: { authorization, 'content-length': 10 * MiB } });
      assert.equal(status, 401);
    }
  });

  test('a body that comes too slowly, or never to its end, holds nothing for long', async () => {
    const { status, error } = await call('contract.create', (send) => send('{'), { headers: { 'content-length': 10 } });
    assert.equal(status, 400);
    assert.match(error.message, /not complete/);
  });

  test('a head that never ends is hung up on', async () => {
    const { hostname, port } = new URL(plane.url);
    const socket = connect(Number(port), hostname);
    socket.write('POST /trpc/auth.whoami HTTP/1.1\r\nHost: x\r\nX-Slow: ');
    socket.resume();
    await once(socket, 'close');
  });

  test('lengths that contradict each other are refused', async () => {
    const { hostname, port } = new URL(plane.url);
    for (const head of [
      'Content-Length: 5\r\nContent-Length: 6',
      'Content-Length: 5\r\nTransfer-Encoding: chunked',
      'Content-Length: -1',
    ]) {
      const socket = connect(Number(port), hostname);
      socket.end(`POST /trpc/auth.whoami HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\nhello`);
      assert.match(await text(socket), /^HTTP\/1\.1 400/, head);
    }
  });

  test('a compressed body, and another content type than JSON, are refused', async () => {
    const gzip = gzipSync(JSON.stringify({ name: 'x' }));
    const write = (send: (piece: Buffer) => boolean, end: () => void): void => {
      send(gzip);
      end();
    };
    for (const headers of [
      { 'content-encoding': 'gzip' },
      { 'content-type': 'text/plain' },
      { 'content-type': 'multipart/form-data; boundary=x' },
      { 'content-type': 'application/octet-stream' },
    ]) {
      const { status, error } = await call('contract.describe', write, { headers });
      assert.equal(status, 400);
      assert.equal(error.data.code, 'USAGE');
    }
  });

  test('a million elements, keys or levels are refused in a few words', async () => {
    const million = 1_000_000;
    const inputs = [
      { name: Array.from({ length: million }, () => 1) },
      Object.fromEntries(Array.from({ length: 200_000 }, (_, i) => [`k${i}`, 1])),
    ].map((input) => JSON.stringify(input));
    inputs.push(`${'{"name":'.repeat(million)}1${'}'.repeat(million)}`, '{"__proto__":{"admin":true},"name":"x"}');
    for (const input of inputs) {
      const { status, body, error } = await call('contract.describe', (send, end) => {
        send(input);
        end();
      });
      assert.equal(status, 400);
      assert.equal(error.data.code, 'USAGE');
      assert.ok(body.length < 20_000, `${body.length} bytes`);
      assert.ok((error.data.problems?.length ?? 0) <= limits.problems);
    }
    assert.equal(Reflect.get({}, 'admin'), undefined);
  });

  test('a batch has at most ten calls', async () => {
    const batch = async (size: number): Promise<number> => {
      const path = Array.from({ length: size }, () => 'auth.whoami').join(',');
      const response = await fetch(`${plane.url}/trpc/${path}?batch=1`, { headers: { authorization: `Bearer ${token}` } });
      await response.text();
      return response.status;
    };
    assert.equal(await batch(limits.requestBatch), 200);
    assert.equal(await batch(limits.requestBatch + 1), 400);
    assert.ok([400, 431].includes(await batch(1_000)));
  });

  test('what no database can hold is refused as bad input', async () => {
    const { status, error } = await json('workflow.create', { name: 'x', project: 'y', team: 'a\u0000b' });
    assert.deepEqual([status, error.data.code], [400, 'USAGE']);
  });

  test('a malformed call gets a code and a request id, and never a stack', async () => {
    for (const [path, body] of [
      ['contract.nothing', '{}'],
      ['contract.describe', 'secret{'],
      ['contract.describe', '[]'],
      ['__proto__', '{}'],
      ['contract.create.call', '{}'],
    ] as const) {
      const answer = await call(path, (send, end) => {
        send(body);
        end();
      });
      assert.ok(answer.status === 400 || answer.status === 404, `${path}: ${answer.status}`);
      assert.doesNotMatch(answer.body, /stack|secret|node_modules|\.ts/);
      assert.match(answer.body, /"requestId":"[0-9a-f-]{36}"/);
    }
  });
});

describe('what is not the API', () => {
  test('health, readiness, metrics and the front page answer; anything else is 404', async () => {
    await using plane = await startControlPlane();
    await plane.createOrganization('acme');
    const get = async (path: string, init: RequestInit = {}): Promise<readonly [number, string]> => {
      const response = await fetch(plane.url + path, init);
      assert.match(response.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
      return [response.status, await response.text()];
    };
    assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
    assert.deepEqual(await get('/readyz'), [200, 'ok\n']);
    assert.equal(JSON.parse((await get('/'))[1]).name, 'chainloop');
    assert.match((await get('/metrics'))[1], /^chainloop_request_duration_seconds_count\{route="trpc",status="200"\} /m);
    for (const path of ['/x', '/trpc', '/v1/', '/healthz/x', '/%2e%2e/etc/passwd']) assert.equal((await get(path))[0], 404, path);
    assert.equal((await get('/v2/'))[0], 401);
    // OCI clients are sent to the token endpoint at the address that they called, when it is ours; else they may use Basic.
    const { host } = new URL(plane.url);
    assert.equal(await challengeOf(plane.url, host), `Bearer realm="http://${host}/v2/token",service="${host}"`);
    assert.equal(await challengeOf(plane.url, 'evil.example'), 'Basic realm="chainloop"');
  });

  test('metrics want the owner token as soon as others can reach the server', async () => {
    await using plane = await startControlPlane({ options: { publicUrl: 'https://chainloop.example.com' } });
    const { token } = await plane.createOrganization('acme');
    const status = async (bearer?: string): Promise<number> =>
      (await fetch(`${plane.url}/metrics`, bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } })).status;
    assert.deepEqual([await status(), await status(token), await status(plane.ownerToken)], [401, 404, 200]);
    // OCI clients are sent there, whatever name they called.
    const challenge = 'Bearer realm="https://chainloop.example.com/v2/token",service="chainloop.example.com"';
    for (const host of ['chainloop.internal:8080', 'evil.example']) assert.equal(await challengeOf(plane.url, host), challenge);
  });

  test('an address that is taken is told', async () => {
    await using plane = await startControlPlane();
    await assert.rejects(startControlPlane({ options: { listen: new URL(plane.url).host } }), /something listens there already.*--listen/);
  });
});

async function challengeOf(url: string, host: string): Promise<unknown> {
  return (await callOnce(url, 'GET', '/v2/', { headers: { host } })).headers['www-authenticate'];
}

test('whoever reads a backup too slowly is cut off, and the embedded database goes on', async () => {
  await using database = await openDatabase('pglite');
  // More than what lies between the database and the reader.
  await database.system.run((tx) =>
    tx.execute(
      sql`insert into settings (key, value) select 'filling', string_agg(gen_random_uuid()::text, '') from generate_series(1, 50000)`,
    ),
  );
  const answer = backupOf({ database, log: createLog('silent', { write() {} }) }, 300);
  await database.ping();
  await assert.rejects(answer.arrayBuffer());
  await database.ping();
});
