import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { test } from 'node:test';
import * as z from 'zod';
import { createRegistryClient } from '../../core/adapters/oci/client.ts';
import { digestOf } from '../../core/digest.ts';
import { isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { blobOf } from '../../test/fakes/bytes.ts';
import { type FakeGateway, startGateway, tokens } from '../../test/fakes/gateway.ts';
import { type Answer, type Call, call } from '../../test/fakes/http-call.ts';
import { createSecrets } from '../sealing.ts';
import { hashToken, makeToken } from '../tokens.ts';
import { createRegistryTokens } from './registry-token.ts';

// The distribution project's "Token Authentication Specification", "Token Scope Documentation" and "OAuth2 Token Authentication".

const Sold = z.object({
  token: z.string(),
  access_token: z.string(),
  scope: z.string(),
  expires_in: z.number(),
  issued_at: z.iso.datetime(),
});

const basic = (password: string): Call => ({
  headers: { authorization: `Basic ${Buffer.from(`anybody:${password}`).toString('base64')}` },
});
const form = (fields: Record<string, string>): Call => ({
  body: new URLSearchParams(fields).toString(),
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
});
const ask = (gateway: FakeGateway, method: string, path: string, options: Call = {}): Promise<Answer> =>
  call(gateway.origin, method, path, options);

async function buy(gateway: FakeGateway, token: string, ...scopes: string[]): Promise<z.infer<typeof Sold>> {
  const query = new URLSearchParams({ service: gateway.host });
  for (const scope of scopes) query.append('scope', scope);
  const answer = await ask(gateway, 'GET', `/v2/token?${query}`, basic(token));
  assert.equal(answer.status, 200, answer.body.toString());
  return Sold.parse(JSON.parse(answer.body.toString()));
}

test('whoever has no token is told where to get one, and what to ask for', async () => {
  await using gateway = await startGateway();
  const blob = `/v2/acme/blobs/${digestOf('x')}`;
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ['GET', '/v2/', undefined],
    ['GET', blob, 'repository:acme:pull'],
    ['HEAD', '/v2/acme/manifests/v1', 'repository:acme:pull'],
    ['GET', '/v2/acme/tags/list', 'repository:acme:pull'],
    ['GET', `/v2/acme/referrers/${digestOf('x')}`, 'repository:acme:pull'],
    ['POST', '/v2/acme/blobs/uploads/', 'repository:acme:pull,push'],
    ['PATCH', '/v2/acme/blobs/uploads/1', 'repository:acme:pull,push'],
    ['PUT', '/v2/nobody/manifests/v1', 'repository:nobody:pull,push'],
    ['DELETE', '/v2/acme/manifests/v1', 'repository:acme:delete'],
    ['GET', '/v2/_catalog', undefined],
    // What is no name of an organization gets into no header.
    ['GET', '/v2/a%22b/tags/list', undefined],
    ['GET', '/v2/a%0d%0ax:%20y/tags/list', undefined],
    ['GET', '/v2/ACME/tags/list', undefined],
  ];
  for (const [method, path, scope] of rows) {
    const { status, headers } = await ask(gateway, method, path);
    const challenge = `Bearer realm="${gateway.origin}/v2/token",service="${gateway.host}"${scope === undefined ? '' : `,scope="${scope}"`}`;
    assert.deepEqual([status, headers['www-authenticate']], [401, challenge], `${method} ${path}`);
  }
  const refused = await ask(gateway, 'GET', '/v2/', { token: makeToken('api').token });
  assert.match(String(refused.headers['www-authenticate']), /,error="invalid_token"$/);
});

test('a client that reaches the server by a name that it does not know of itself is sent nowhere: it may use Basic', async () => {
  await using gateway = await startGateway();
  for (const host of ['evil.example', 'localhost:1', 'a"b']) {
    const { headers } = await ask(gateway, 'GET', '/v2/', { headers: { host } });
    assert.equal(headers['www-authenticate'], 'Basic realm="chainloop"');
  }
});

test('GET with Basic gives a token for five minutes, which is good for what was asked for', async () => {
  await using gateway = await startGateway();
  const answer = await ask(gateway, 'GET', '/v2/token?service=x&account=x&client_id=docker&offline_token=true', basic(tokens.api));
  assert.deepEqual([answer.status, answer.headers['cache-control']], [200, 'no-store']);
  const sold = await buy(gateway, tokens.api, 'repository:acme:pull,push');
  assert.deepEqual([sold.token, sold.scope, sold.expires_in], [sold.access_token, 'repository:acme:pull,push', 300]);
  assert.match(sold.token, /^chl_g_[A-Za-z0-9_-]+$/);
  assert.equal((await ask(gateway, 'GET', '/v2/', { token: sold.token })).status, 200);
  assert.equal((await ask(gateway, 'GET', '/v2/acme/tags/list', { token: sold.token })).status, 200);
  assert.equal((await ask(gateway, 'POST', '/v2/acme/blobs/uploads/', { token: sold.token })).status, 202);
});

test('POST of a form takes the token as password and as refresh token', async () => {
  await using gateway = await startGateway();
  const scope = 'repository:acme:pull repository:acme:push';
  for (const fields of [
    { grant_type: 'password', username: 'x', password: tokens.api, service: 'x', client_id: 'containerd', scope },
    { grant_type: 'refresh_token', refresh_token: tokens.api, service: 'x', client_id: 'docker', access_type: 'offline', scope },
  ]) {
    const answer = await ask(gateway, 'POST', '/v2/token', form(fields));
    const sold = Sold.parse(JSON.parse(answer.body.toString()));
    assert.equal(sold.scope, 'repository:acme:pull,push');
    assert.equal((await ask(gateway, 'GET', '/v2/acme/tags/list', { token: sold.access_token })).status, 200);
  }
});

test('requests for a token that are wrong are refused', async () => {
  await using gateway = await startGateway();
  const rows: readonly (readonly [string, Call, number, string])[] = [
    ['GET', {}, 401, 'UNAUTHORIZED'],
    ['GET', basic('nonsense'), 401, 'UNAUTHORIZED'],
    ['GET', basic(tokens.expired), 401, 'UNAUTHORIZED'],
    ['POST', form({ grant_type: 'password', username: 'x', password: 'nonsense' }), 401, 'UNAUTHORIZED'],
    ['POST', form({ grant_type: 'password', username: 'x' }), 401, 'UNAUTHORIZED'],
    ['POST', form({ grant_type: 'client_credentials' }), 400, 'UNSUPPORTED'],
    ['POST', { body: '{}', headers: { 'content-type': 'application/json' } }, 400, 'UNSUPPORTED'],
    ['POST', form({ grant_type: 'password', password: 'x'.repeat(limits.tokenRequestSizeBytes) }), 413, 'SIZE_INVALID'],
    ['PUT', basic(tokens.api), 405, 'UNSUPPORTED'],
  ];
  for (const [method, options, status, code] of rows) {
    const answer = await ask(gateway, method, '/v2/token', options);
    assert.deepEqual([answer.status, answer.code], [status, code], `${method} ${JSON.stringify(options).slice(0, 200)}`);
    if (status === 401) assert.equal(answer.headers['www-authenticate'], 'Basic realm="chainloop"');
  }
});

test('a registry token does nothing that it was not asked for, and the refusal names what is missing', async () => {
  await using gateway = await startGateway();
  const { token: pull } = await buy(gateway, tokens.api, 'repository:acme:pull');
  const refused = await ask(gateway, 'POST', '/v2/acme/blobs/uploads/', { token: pull });
  assert.deepEqual([refused.status, refused.code], [401, 'UNAUTHORIZED']);
  assert.match(String(refused.headers['www-authenticate']), /scope="repository:acme:pull,push",error="insufficient_scope"$/);
  const { token: nothing } = await buy(gateway, tokens.api);
  assert.equal((await ask(gateway, 'GET', '/v2/acme/tags/list', { token: nothing })).status, 401);
  assert.equal((await ask(gateway, 'GET', '/v2/', { token: nothing })).status, 200);
});

test('what cannot be granted is left out, without a word about whether it exists', async () => {
  await using gateway = await startGateway();
  const scopes = ['repository:other:pull,push', 'repository:nobody:*', 'registry:catalog:*', 'repository:acme/x:pull', 'nonsense', ''];
  assert.equal((await buy(gateway, tokens.api, ...scopes)).scope, '');
  assert.equal((await buy(gateway, tokens.api, ...scopes, 'repository:acme:*')).scope, 'repository:acme:pull,push,delete');
  const { token } = await buy(gateway, tokens.api, 'repository:acme:pull', 'repository:other:pull');
  const [theirs, nobodys] = [
    await ask(gateway, 'GET', '/v2/other/tags/list', { token }),
    await ask(gateway, 'GET', '/v2/nobody/tags/list', { token }),
  ];
  assert.deepEqual([theirs.status, theirs.code, theirs.body], [404, 'NAME_UNKNOWN', nobodys.body]);
});

test("an owner's registry token is good for the organizations that it was asked for, and a job's for what a job may", async () => {
  await using gateway = await startGateway();
  const names = Array.from({ length: 20 }, (_, index) => `repository:name-${index}:pull`);
  const owner = await buy(gateway, tokens.owner, 'repository:acme:pull', ...names);
  assert.equal(owner.scope.split(' ').length, limits.registryTokenScopes);
  const as = (path: string, token: string): Promise<number> => ask(gateway, 'GET', path, { token }).then(({ status }) => status);
  assert.deepEqual([await as('/v2/acme/tags/list', owner.token), await as('/v2/other/tags/list', owner.token)], [200, 401]);
  const { token: job } = await buy(gateway, tokens.job, 'repository:acme:pull,push');
  assert.deepEqual([await as('/v2/acme/tags/list', job), await as(`/v2/acme/blobs/${digestOf('x')}`, job)], [403, 403]);
  assert.equal((await ask(gateway, 'POST', '/v2/acme/blobs/uploads/', { token: job })).status, 202);
});

test('a registry token ends with the chainloop token that it stands for', async () => {
  await using gateway = await startGateway();
  const { token } = await buy(gateway, tokens.revocable, 'repository:acme:pull');
  assert.equal((await ask(gateway, 'GET', '/v2/acme/tags/list', { token })).status, 200);
  gateway.revoke(tokens.revocable);
  const refused = await ask(gateway, 'GET', '/v2/acme/tags/list', { token });
  assert.deepEqual([refused.status, refused.code], [401, 'UNAUTHORIZED']);
});

test('a registry token ends after five minutes', async () => {
  let at = Date.now();
  await using gateway = await startGateway({ now: () => new Date(at) });
  const { token } = await buy(gateway, tokens.api, 'repository:acme:pull');
  at += limits.registryTokenLifetimeMs - 1;
  assert.equal((await ask(gateway, 'GET', '/v2/acme/tags/list', { token })).status, 200);
  at += 1;
  const refused = await ask(gateway, 'GET', '/v2/acme/tags/list', { token });
  assert.deepEqual([refused.status, refused.headers['x-chainloop-error']], [401, 'TOKEN_EXPIRED']);
});

test('a registry token buys no other, so that it cannot outlive itself or grow', async () => {
  await using gateway = await startGateway();
  const { token } = await buy(gateway, tokens.api, 'repository:acme:pull');
  for (const [method, options] of [
    ['GET', basic(token)],
    ['GET', { token }],
    ['POST', form({ grant_type: 'refresh_token', refresh_token: token })],
  ] as const) {
    assert.equal((await ask(gateway, method, '/v2/token?scope=repository:acme:push', options)).status, 401);
  }
});

test('a registry token that was changed anywhere, or made elsewhere, is unknown', () => {
  const now = (): Date => new Date();
  const secrets = createSecrets(randomBytes(32));
  const here = createRegistryTokens({ secrets, now });
  const credential = { kind: 'api', hash: hashToken(tokens.api) } as const;
  const access = new Map([['acme', ['pull']]] as const);
  const { token } = here.make(credential, access);
  assert.deepEqual(here.open(token), { credential, access });
  const elsewhere = createRegistryTokens({ secrets: createSecrets(randomBytes(32)), now }).make(credential, access).token;
  const otherPurpose = `chl_g_${Buffer.from(secrets.seal('["api"]', 'another')).toString('base64url')}`;
  for (const wrong of [elsewhere, otherPurpose, 'chl_g_', 'chl_g_x', `${token.slice(0, -8)}`]) {
    assert.throws(
      () => here.open(wrong),
      (error) => isChainloopError(error, 'UNAUTHENTICATED'),
      wrong,
    );
  }
  // Base64 has bits that say nothing; whatever changes the bytes is found.
  const sealed = Buffer.from(token.slice('chl_g_'.length), 'base64url');
  for (let at = 0; at < sealed.length; at += 7) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 4;
    assert.throws(
      () => here.open(`chl_g_${changed.toString('base64url')}`),
      (error) => isChainloopError(error, 'UNAUTHENTICATED'),
      `at ${at}`,
    );
  }
  assert.equal(here.open(tokens.api), undefined);
});

test('guessing tokens is stopped; asking without one, or with one that has ended, is not guessing', async () => {
  await using gateway = await startGateway();
  const statusOf = async (options: Call): Promise<number> => (await ask(gateway, 'GET', '/v2/', options)).status;
  for (let count = 0; count < limits.failedLoginsPerMinute + 5; count++) {
    assert.equal(await statusOf({}), 401);
    assert.equal(await statusOf({ token: tokens.expired }), 401);
  }
  assert.equal(await statusOf({ token: tokens.api }), 200);
  for (let count = 0; count < limits.failedLoginsPerMinute; count++) {
    const guess = count % 2 === 0 ? makeToken('api').token : `guess ${count}`;
    assert.equal((await ask(gateway, 'GET', '/v2/token', basic(guess))).status, 401);
  }
  const limited = await ask(gateway, 'GET', '/v2/token', basic(tokens.api));
  assert.deepEqual([limited.status, limited.code, limited.headers['retry-after']], [429, 'TOOMANYREQUESTS', '1']);
  assert.equal(await statusOf({}), 401);
  assert.equal(await statusFrom('127.0.0.2', gateway), 200);
});

test('a job that tries one stale token over and over does not lock out the others of its address', async () => {
  await using gateway = await startGateway();
  const { token } = makeToken('api');
  for (let count = 0; count < limits.failedLoginsPerMinute + 5; count++) {
    assert.equal((await ask(gateway, 'GET', '/v2/token', basic(token))).status, 401);
  }
  assert.equal((await ask(gateway, 'GET', '/v2/', { token: tokens.api })).status, 200);
});

test('our own client logs in by the token server, since it is the registry itself', async () => {
  await using gateway = await startGateway();
  const client = createRegistryClient({
    origin: gateway.origin,
    repository: 'acme',
    credentials: { type: 'basic', username: 'x', password: tokens.api },
  });
  const { digest } = await client.uploadBlob(blobOf(Buffer.from('bytes')));
  assert.equal(Buffer.concat(await Array.fromAsync((await client.fetchBlob(digest)).body)).toString(), 'bytes');
  assert.ok(gateway.samples.some(({ route, status }) => route === 'token' && status === 200));
  client.close();
});

/** The same machine by another of its addresses. */
function statusFrom(localAddress: string, { origin }: FakeGateway): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  request(new URL('/v2/', origin), { localAddress, headers: { authorization: `Bearer ${tokens.api}` } }, (answer) => {
    answer.resume();
    resolve(answer.statusCode);
  })
    .on('error', reject)
    .end();
  return promise;
}
