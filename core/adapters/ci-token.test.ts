import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { test } from 'node:test';
import { listen } from '../../test/fakes/listen.ts';
import { isChainloopError } from '../errors.ts';
import { ciTokenSource } from './ci-token.ts';

const audience = 'https://chainloop.example.com:8443';
const requestToken = 'CANARY-request-token';
const retryPolicy = { attempts: 3, baseDelayMs: 1, maxDelayMs: 1, budgetMs: 1_000 };

/** GitHub's token service, answering the n-th request (from 0) as told. */
async function github(answer: (n: number, response: ServerResponse, request: IncomingMessage) => void) {
  let requests = 0;
  const listening = await listen(createServer((request, response) => answer(requests++, response, request)));
  const env = { ACTIONS_ID_TOKEN_REQUEST_URL: `${listening.origin}/x/token?api-version=2.0`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken };
  const source = ciTokenSource(env, { retryPolicy });
  assert.equal(source?.platform, 'github');
  return { ...listening, source, count: () => requests };
}

const value = (response: ServerResponse, text: string): void => void response.end(JSON.stringify({ value: text }));

test('a job of GitHub asks for a token for this audience, with its request token', async () => {
  let asked = '';
  await using server = await github((_, response, request) => {
    asked = `${request.method} ${request.url} ${request.headers.authorization}`;
    value(response, 'the.id.token');
  });
  assert.equal(await server.source.token(audience), 'the.id.token');
  assert.equal(asked, `GET /x/token?api-version=2.0&audience=${encodeURIComponent(audience)} Bearer ${requestToken}`);
});

test('an outage that passes is survived', async () => {
  await using server = await github((n, response) => {
    if (n === 0) response.destroy();
    else if (n === 1) response.writeHead(503).end();
    else value(response, 't');
  });
  assert.equal(await server.source.token(audience), 't');
});

for (const [what, code, tries, answer] of [
  ['an outage that lasts', 'CONTROL_PLANE_UNREACHABLE', 3, (response) => void response.writeHead(500).end()],
  ['a connection that is cut', 'CONTROL_PLANE_UNREACHABLE', 3, (response) => void response.destroy()],
  ['a refusal', 'UNAUTHENTICATED', 1, (response) => void response.writeHead(403).end()],
  [
    'a redirect, which would take the request token away',
    'UNAUTHENTICATED',
    1,
    (response) => void response.writeHead(307, { location: 'https://evil.example' }).end(),
  ],
  ['a page', 'UNAUTHENTICATED', 1, (response) => void response.end('<html>')],
  ['an answer without a token', 'UNAUTHENTICATED', 1, (response) => void response.end('{"value":""}')],
  ['an answer without end', 'UNAUTHENTICATED', 1, (response) => void response.end(JSON.stringify({ value: 'x'.repeat(100_000) }))],
] satisfies [string, string, number, (response: ServerResponse) => void][]) {
  test(`${what} is ${code}, and no message has a token`, async () => {
    await using server = await github((_, response) => answer(response));
    await assert.rejects(server.source.token(audience), (error) => {
      assert.ok(isChainloopError(error));
      assert.equal(error.code, code);
      assert.doesNotMatch(error.message, /CANARY|api-version/);
      return true;
    });
    assert.equal(server.count(), tries);
  });
}

test('a job of GitLab has its token in CHAINLOOP_ID_TOKEN', async () => {
  const source = ciTokenSource({ GITLAB_CI: 'true', CHAINLOOP_ID_TOKEN: 'a.b.c\n' });
  assert.equal(source?.platform, 'gitlab');
  assert.equal(await source?.token(audience), 'a.b.c');
});

test('a job without a token of its CI system has no source', () => {
  const url = 'https://github.example/token';
  for (const env of [
    {},
    { GITHUB_ACTIONS: 'true' },
    { ACTIONS_ID_TOKEN_REQUEST_URL: url },
    { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: '' },
    { CHAINLOOP_ID_TOKEN: ' ' },
  ])
    assert.equal(ciTokenSource(env), undefined);
});

test('what is no URL is said, and not called', async () => {
  const source = ciTokenSource({ ACTIONS_ID_TOKEN_REQUEST_URL: 'file:///x', ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'x' });
  assert.ok(source !== undefined);
  await assert.rejects(source.token(audience), { code: 'UNAUTHENTICATED', message: /ACTIONS_ID_TOKEN_REQUEST_URL/ });
});
