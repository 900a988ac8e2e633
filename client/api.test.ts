import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { test } from 'node:test';
import { isChainloopError } from '../core/errors.ts';
import { listen } from '../test/fakes/listen.ts';
import { record } from '../test/faults/reliability.ts';
import { createApi } from './api.ts';
import { createControlPlane } from './control-plane.ts';

/** A server that answers the n-th request (from 0) as told. */
async function answering(answer: (n: number, response: ServerResponse, request: IncomingMessage) => void) {
  let requests = 0;
  const server = createServer((request, response) => {
    request.resume();
    answer(requests++, response, request);
  });
  const listening = await listen(server);
  return { ...listening, count: () => requests, url: listening.origin };
}

const json = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
};
const wireError = (code: string, message: string, problems?: unknown): unknown => ({
  error: { code: -32600, message, data: { code, httpStatus: 400, requestId: 'r', problems } },
});
const whoami = { result: { data: { kind: 'api', name: 'x', organization: 'acme', workflow: null, project: null, expiresAt: null } } };
const token = 'chl_a_secret';

test('the error of the server arrives with its code, message and problems', async () => {
  const problems = [{ message: 'unknown key', path: 'materials[0]', line: 3, column: 5 }, { nonsense: true }, 'x'];
  await using server = await answering((_, response) => json(response, 400, wireError('CONTRACT_INVALID', 'contract: bad', problems)));
  const { contract } = createApi({ url: server.url, token });
  await assert.rejects(contract.validate.query({ format: 'yaml', body: 'x' }), (error) => {
    assert.ok(isChainloopError(error, 'CONTRACT_INVALID'));
    assert.equal(error.message, 'contract: bad');
    assert.deepEqual(error.problems, [problems[0]]);
    return true;
  });
});

test('F13: a code that this version does not know is INTERNAL, and both versions are named', async (t) => {
  const headers = { 'x-chainloop-version': '9.0.0' };
  await using server = await answering((_, response) => json(response, 400, wireError('FROM_THE_FUTURE', 'something new'), headers));
  const { auth } = createApi({ url: server.url, token, version: '1.0.0' });
  await assert.rejects(auth.whoami.query(), {
    code: 'INTERNAL',
    message: 'something new (this is chainloop 1.0.0, the control plane has 9.0.0)',
  });
  record(t, {
    fault: 'F13',
    what: 'a command line of another version gets an answer that it does not know',
    trials: 1,
    sees: 'exit 1: what the control plane says, and both versions',
    stored: 'nothing: it was refused',
  });
});

test('a query survives 502, 503, 429 and cut connections', async () => {
  await using server = await answering((n, response) => {
    if (n === 0) response.writeHead(502).end('<html>');
    else if (n === 1) json(response, 503, wireError('CONTROL_PLANE_UNREACHABLE', 'stopping'));
    else if (n === 2) json(response, 429, wireError('RATE_LIMITED', 'busy'), { 'retry-after': '0' });
    else if (n === 3) response.destroy();
    else json(response, 200, whoami);
  });
  assert.equal((await createApi({ url: server.url, token }).auth.whoami.query()).organization, 'acme');
  assert.equal(server.count(), 5);
});

test('what may have been done is not repeated, unless it carries its own key', async () => {
  await using server = await answering((_, response) => void response.destroy());
  const options = { url: server.url, token, retryBudgetMs: 300 };
  const { organization } = createApi(options);
  await assert.rejects(organization.create.mutate({ name: 'acme' }), { code: 'CONTROL_PLANE_UNREACHABLE' });
  assert.equal(server.count(), 1);
  const push = createControlPlane(options).push({ runId: '00000000-0000-4000-8000-000000000000', bundle: '{}' });
  await assert.rejects(push, { code: 'CONTROL_PLANE_UNREACHABLE' });
  assert.ok(server.count() > 2);
});

test('what was refused with Retry-After was not done, and is repeated', async () => {
  await using server = await answering((n, response) => {
    if (n === 0) json(response, 503, wireError('CONTROL_PLANE_UNREACHABLE', 'stopping'), { 'retry-after': '0' });
    else json(response, 200, { result: { data: { id: 'x', name: 'acme', createdAt: '' } } });
  });
  await createApi({ url: server.url, token }).organization.create.mutate({ name: 'acme' });
  assert.equal(server.count(), 2);
});

test('a control plane that is not there is named, with what to do', async () => {
  const { url } = await answering(() => undefined).then(async (server) => {
    await server[Symbol.asyncDispose]();
    return server;
  });
  await assert.rejects(createApi({ url, token, retryBudgetMs: 0 }).auth.whoami.query(), (error) => {
    assert.ok(isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE'));
    assert.ok(error.message.includes(url) && error.message.includes('CHAINLOOP_URL'), error.message);
    return true;
  });
});

for (const [what, type, text] of [
  ['a page', 'text/html', '<html>'],
  ['the JSON of another API', 'application/json', '{"error":"not_found"}'],
  ['JSON that is none', 'application/json', '{'],
] as const) {
  test(`something else that answers there is told apart: ${what}`, async () => {
    await using server = await answering((_, response) => void response.writeHead(200, { 'content-type': type }).end(text));
    await assert.rejects(createApi({ url: server.url, token }).auth.whoami.query(), {
      code: 'CONTROL_PLANE_UNREACHABLE',
      message: /not as a control plane does/,
    });
  });
}

test('what the server says of a registry arrives as it is, and is not retried when another try cannot help', async () => {
  await using server = await answering((_, response) =>
    json(response, 502, wireError('REGISTRY_UNAUTHORIZED', 'registry x: log in failed')),
  );
  const { casBackend } = createApi({ url: server.url, token });
  await assert.rejects(casBackend.list.query(), { code: 'REGISTRY_UNAUTHORIZED', message: 'registry x: log in failed' });
  assert.equal(server.count(), 1);
});

test('the token does not follow a redirect', async () => {
  await using trap = await answering((_, response) => json(response, 200, whoami));
  await using server = await answering((_, response) => void response.writeHead(307, { location: `${trap.url}/trpc/auth.whoami` }).end());
  await assert.rejects(createApi({ url: server.url, token }).auth.whoami.query(), {
    code: 'CONTROL_PLANE_UNREACHABLE',
    message: `control plane ${server.url}: it redirects to ${trap.url}; set CHAINLOOP_URL to where it really is`,
  });
  assert.equal(trap.count(), 0);
});

test('the token does not travel in clear to other machines, unless told so', () => {
  for (const url of ['http://chainloop.example.com', 'http://10.0.0.1:8080', 'http://127.0.0.1.example.com']) {
    assert.throws(() => createApi({ url, token }), { code: 'USAGE', message: /CHAINLOOP_INSECURE/ });
    createApi({ url, token, insecure: true });
  }
  for (const url of ['https://chainloop.example.com', 'http://localhost:8080', 'http://[::1]:8080']) createApi({ url, token });
});

test('a URL that is no origin is refused, without repeating a password in it', () => {
  for (const url of ['', 'chainloop', 'ftp://x', 'https://user:CANARY@x', 'https://x/path', 'https://x/?q=CANARY']) {
    assert.throws(
      () => createApi({ url, token }),
      (error) => isChainloopError(error, 'USAGE') && !error.message.includes('CANARY'),
    );
  }
});

test('an answer without end is cut off', async () => {
  await using server = await answering((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const piece = Buffer.alloc(1024 * 1024, ' ');
    const pump = (): void => {
      while (!response.destroyed && response.write(piece));
    };
    response.on('drain', pump).on('error', () => undefined);
    pump();
  });
  await assert.rejects(createApi({ url: server.url, token }).auth.whoami.query(), { code: 'LIMIT_EXCEEDED' });
});
