import assert from 'node:assert/strict';
import { createHmac, createPublicKey, randomUUID } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';
import { type Api, createApi } from '../../client/api.ts';
import { isChainloopError } from '../../core/errors.ts';
import { type ControlPlane, startControlPlane } from '../../test/fakes/control-plane.ts';
import { startIssuer } from '../../test/fakes/issuer.ts';
import { browse, logIn, loginThrough, type OpenidProvider, startOpenidProvider } from '../../test/fakes/openid-provider.ts';

// What others may try to get in as somebody else. The provider is a fake that signs for real, and says what a test wants.

const stack = new AsyncDisposableStack();
let provider: OpenidProvider;
let plane: ControlPlane;
let owner: Api;
let anyone: Api;

before(async () => {
  provider = stack.use(await startOpenidProvider());
  plane = stack.use(await startControlPlane(loginThrough(provider)));
  owner = (await plane.createOrganization('acme')).api;
  anyone = createApi({ url: plane.url, version: 'test', retryBudgetMs: 0 });
  await owner.invitation.create.mutate({ email: 'alice@example.com', role: 'admin' });
  await logIn(plane.url);
});
after(() => stack.disposeAsync());

const honest = { sub: 'alice-1', name: 'Alice', email: 'alice@example.com', email_verified: true };
const state = 'the-state-of-the-command-line';

beforeEach(() => {
  provider.person = honest;
  provider.answer = (claims) => provider.mint(claims);
  provider.isForgetful = false;
});

const refused = (words: RegExp) => (error: unknown) => {
  assert.ok(isChainloopError(error, 'UNAUTHENTICATED'), String(error));
  assert.match(error.message, words);
  assert.doesNotMatch(error.message, /eyJ/);
  return true;
};

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const full = (claims: object) => {
  const at = Math.floor(Date.now() / 1000);
  return { iss: provider.issuer, aud: provider.clientId, iat: at, exp: at + 300, ...claims };
};

test('an honest login is let in, and the secret of the client is shown to the provider alone', async () => {
  const session = await logIn(plane.url);
  assert.match(session.token, /^chl_u_/);
  assert.deepEqual(
    session.organizations.map(({ name, role }) => [name, role]),
    [['acme', 'admin']],
  );
  const me = await plane.api(session.token).auth.whoami.query();
  assert.deepEqual(
    [me.kind, me.name, me.email, me.organizations],
    ['user', 'Alice', 'alice@example.com', [{ name: 'acme', role: 'admin' }]],
  );
  assert.ok(!plane.log.join('').includes(provider.clientSecret));
});

test('alg none', async () => {
  provider.answer = (claims) => `${part({ alg: 'none', kid: provider.publicJwk().kid })}.${part(full(claims))}.`;
  await assert.rejects(logIn(plane.url), refused(/must be signed with RS256, not 'none'/));
});

test('HS/RS confusion: the public key as an HMAC secret', async () => {
  const jwk = provider.publicJwk();
  const pem = createPublicKey({ key: { kty: 'RSA', n: jwk.n ?? '', e: jwk.e ?? '' }, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  });
  provider.answer = (claims) => {
    const signed = `${part({ alg: 'HS256', kid: jwk.kid })}.${part(full(claims))}`;
    return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`;
  };
  await assert.rejects(logIn(plane.url), refused(/not 'HS256'/));
});

test('a signature of somebody else under the key id of the provider', async () => {
  await using stranger = await startOpenidProvider();
  provider.answer = (claims) => stranger.mint(full(claims), { kid: String(provider.publicJwk().kid) });
  await assert.rejects(logIn(plane.url), refused(/signature does not verify/));
  provider.answer = (claims) => stranger.mint(full(claims));
  await assert.rejects(logIn(plane.url), refused(/key is not one of the provider/));
});

test('another audience, several audiences, another issuer', async () => {
  for (const [change, words] of [
    [{ aud: 'another-client' }, /audience/],
    [{ aud: ['chainloop', 'another-client'] }, /audience/],
    [{ iss: 'https://accounts.example.com' }, /'iss'/],
    [{ iss: `${provider.issuer}/` }, /'iss'/],
  ] as const) {
    provider.answer = (claims) => provider.mint({ ...claims, ...change });
    await assert.rejects(logIn(plane.url), refused(words));
  }
});

test('a wrong nonce, and none: the answer to another login', async () => {
  provider.answer = (claims) => provider.mint({ ...claims, nonce: 'another' });
  await assert.rejects(logIn(plane.url), refused(/nonce/));
  provider.answer = ({ nonce: _, ...claims }) => provider.mint(claims);
  await assert.rejects(logIn(plane.url), refused(/nonce/));
});

test('clocks: 29 s apart are taken; more are refused, with how far apart they are', async () => {
  const at = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
  provider.answer = (claims) => provider.mint({ ...claims, iat: at(29), exp: at(329) });
  await logIn(plane.url);
  provider.answer = (claims) => provider.mint({ ...claims, iat: at(-330), exp: at(-28) });
  await logIn(plane.url);
  provider.answer = (claims) => provider.mint({ ...claims, iat: at(95), exp: at(400) });
  await assert.rejects(logIn(plane.url), refused(/9\d s ahead of this control plane's/));
  provider.answer = (claims) => provider.mint({ ...claims, iat: at(-400), exp: at(-100) });
  await assert.rejects(logIn(plane.url), refused(/expired 10\d s ago by this control plane's clock/));
});

test('a code that is replayed, with its own handle and with another, also where the provider forgets that it was used', async () => {
  const login = await anyone.session.begin.mutate({ port: 40_000, state });
  const code = (await browse(login.authorizationUrl)).searchParams.get('code') ?? '';
  const other = await anyone.session.begin.mutate({ port: 40_000, state });
  // Injected into the login of somebody else: PKCE ties it to its own (RFC 9700, section 4.5).
  await assert.rejects(anyone.session.finish.mutate({ handle: other.handle, code }), refused(/invalid_grant/));
  await anyone.session.finish.mutate({ handle: login.handle, code });
  await assert.rejects(anyone.session.finish.mutate({ handle: login.handle, code }), refused(/invalid_grant/));
  provider.isForgetful = true;
  // What stands behind the sealed text is read by nobody, and makes no other handle of it.
  for (const handle of [login.handle, `${login.handle}AAAA`])
    await assert.rejects(anyone.session.finish.mutate({ handle, code }), refused(/ended already/));
});

test('a handle that was changed, made elsewhere, is of the other flow, or is too old', async () => {
  let late = 0;
  await using elsewhere = await startControlPlane({ ...loginThrough(provider), now: () => new Date(Date.now() + late) });
  const stranger = createApi({ url: elsewhere.url, version: 'test', retryBudgetMs: 0 });
  const mine = await anyone.session.begin.mutate({ port: 40_000, state });
  const theirs = await stranger.session.begin.mutate({ port: 40_000, state });
  const device = await anyone.session.device.mutate({});
  const at = mine.handle.length >> 1;
  const changed = mine.handle.slice(0, at) + (mine.handle[at] === 'A' ? 'B' : 'A') + mine.handle.slice(at + 1);
  for (const handle of [changed, theirs.handle, device.handle, 'x'])
    await assert.rejects(anyone.session.finish.mutate({ handle, code: 'x' }), refused(/not begun here/));
  await assert.rejects(anyone.session.poll.mutate({ handle: mine.handle }), refused(/not begun here/));
  late = 11 * 60_000;
  await assert.rejects(stranger.session.finish.mutate({ handle: theirs.handle, code: 'x' }), refused(/longer than 10 minutes/));
});

test('open redirect: a browser is sent to the port of a login that was begun here, on its own machine, and nowhere else', async () => {
  const login = await anyone.session.begin.mutate({ port: 40_123, state });
  const ours = new URL(login.authorizationUrl).searchParams.get('state') ?? '';
  const relay = async (query: Record<string, string>) => {
    const response = await fetch(`${plane.url}/login/callback?${new URLSearchParams(query)}`, { redirect: 'manual' });
    return { status: response.status, location: response.headers.get('location'), cache: response.headers.get('cache-control') };
  };
  assert.deepEqual(await relay({ state: ours, code: 'c', redirect_uri: 'https://evil.example' }), {
    status: 302,
    location: `http://127.0.0.1:40123/callback?state=${state}&code=c`,
    cache: 'no-store',
  });
  const forged = Buffer.from(JSON.stringify(['40123@evil.example', state, Date.now() + 60_000])).toString('base64url');
  for (const bad of ['', 'https://evil.example', forged, login.handle, ours.slice(0, 60) + ours.slice(61)])
    assert.deepEqual(await relay({ state: bad, code: 'c' }), { status: 400, location: null, cache: 'no-store' });
  for (const port of [80, 65_536, 1023, '40123@evil.example', '//evil.example'])
    await assert.rejects(anyone.session.begin.mutate({ port: Number(port), state }), (error) => isChainloopError(error, 'USAGE'));
});

test('an unverified e-mail takes no invitation; nor does one that only looks or folds like it', async () => {
  await owner.invitation.create.mutate({ email: 'mike@example.com', role: 'owner' });
  const forbidden = (error: unknown) => isChainloopError(error, 'FORBIDDEN');
  const rows: readonly Record<string, unknown>[] = [
    { email: 'mike@example.com' },
    { email: 'mike@example.com', email_verified: false },
    // Not the JSON value: some providers have it as text, and "false" is true to JavaScript.
    { email: 'mike@example.com', email_verified: 'true' },
    { email: 'mike@example.com', email_verified: 'false' },
    { email: 'mi\u212Ae@example.com', email_verified: true },
    { email: 'mıke@example.com', email_verified: true },
    { email: '\uFF4Dike@example.com', email_verified: true },
    { email: 'mike@example.com.evil.example', email_verified: true },
    { email: 'mike@example.com, eve@evil.example', email_verified: true },
    { email: ['mike@example.com'], email_verified: true },
  ];
  for (const row of rows) {
    provider.person = { sub: `eve-${randomUUID()}`, ...row };
    await assert.rejects(logIn(plane.url), forbidden, JSON.stringify(row));
  }
  provider.person = { sub: 'mike-1', email: 'Mike@Example.COM', email_verified: true };
  assert.deepEqual(
    (await logIn(plane.url)).organizations.map(({ role }) => role),
    ['owner'],
  );
});

test('a person is issuer and subject: the e-mail of a member lets nobody else in', async () => {
  provider.person = { ...honest, sub: 'somebody-else' };
  await assert.rejects(logIn(plane.url), (error) => isChainloopError(error, 'FORBIDDEN'));
  provider.person = { ...honest, email: 'renamed@example.com', name: 'Alice B.' };
  const session = await logIn(plane.url);
  assert.deepEqual([session.email, session.organizations.length], ['renamed@example.com', 1]);
});

test('a token of a CI system logs nobody in, and an ID token of a login exchanges for nothing', async () => {
  await using ci = await startIssuer({ audience: provider.clientId });
  provider.answer = () => ci.github();
  await assert.rejects(logIn(plane.url), refused(/key is not one of the provider/));
  const idToken = await provider.mint({ ...honest, aud: plane.url, jti: randomUUID() });
  const exchanged = anyone.auth.exchange.mutate({ subjectToken: idToken });
  await assert.rejects(exchanged, refused(/not one that this control plane trusts/));
  // Neither is a credential by itself.
  for (const token of [idToken, await ci.github()]) await assert.rejects(plane.api(token).auth.whoami.query(), refused(/not known here/));
});

test('an ID token of 1 MB is refused unread', async () => {
  provider.answer = async () => `${part({ alg: 'RS256' })}.${'A'.repeat(200_000)}.A`;
  await assert.rejects(logIn(plane.url), refused(/longer than/));
});

test('guessing an invitation code finds none, and one is taken once', async () => {
  const { code } = await owner.invitation.create.mutate({ email: 'carol@example.com', role: 'viewer' });
  provider.person = { sub: 'carol-1' };
  const absent = (error: unknown) => isChainloopError(error, 'NOT_FOUND');
  for (const guess of ['', 'x', `${code.slice(0, -1)}${code.endsWith('0') ? '1' : '0'}`])
    await assert.rejects(logIn(plane.url, guess), absent);
  assert.equal((await logIn(plane.url, code)).organizations[0]?.role, 'viewer');
  provider.person = { sub: 'carol-2' };
  await assert.rejects(logIn(plane.url, code), absent);
  // Nor is it a credential.
  await assert.rejects(plane.api(code).auth.whoami.query(), refused(/not known here/));
});
