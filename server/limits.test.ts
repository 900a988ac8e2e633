import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import pg from 'pg';
import { createApi } from '../client/api.ts';
import { isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { logIn, loginThrough, startOpenidProvider } from '../test/fakes/openid-provider.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';

// Limits of requests and connections, over real HTTP.

const call = (url: string, token: string, path = '/trpc/auth.whoami'): Promise<Response> =>
  fetch(url + path, { headers: { authorization: `Bearer ${token}` } });

/** One that is refused of so many at once: more than can have flowed in meanwhile, on a busy machine too. */
async function refusedOf(count: number, ask: () => Promise<Response>): Promise<Response> {
  const answers = await Promise.all(Array.from({ length: count }, ask));
  const refused = answers.find(({ status }) => status === 429) ?? assert.fail('none was refused');
  for (const answer of answers) if (answer !== refused) await answer.arrayBuffer();
  return refused;
}
/** Where one request flows in a second. */
const beyondBurst = limits.rateBurstSeconds + 20;
const beyondRest = 20;

test('a token that makes too many requests is told when to come back, by the API and the gateway alike; others are not', async () => {
  await using plane = await startControlPlane({ options: { tokenRate: '1' } });
  const { api, token } = await plane.createOrganization('acme');
  const { token: other } = await api.apiToken.create.mutate({ name: 'other' });
  assert.equal((await call(plane.url, token)).status, 200);
  const refused = await refusedOf(beyondBurst, () => call(plane.url, token));
  assert.equal(refused.headers.get('retry-after'), '1');
  const { error } = JSON.parse(await refused.text());
  assert.equal(error.data.code, 'RATE_LIMITED');
  assert.match(error.message, /^token: more than 1 requests a second/);
  const gateway = await refusedOf(beyondRest, () => call(plane.url, token, '/v2/acme/tags/list'));
  assert.equal(gateway.headers.get('retry-after'), '1');
  assert.equal(JSON.parse(await gateway.text()).errors[0].code, 'TOOMANYREQUESTS');
  assert.equal((await call(plane.url, other)).status, 200);
});

test('the tokens of an organization share its limit, and another organization has its own', async () => {
  await using plane = await startControlPlane({ options: { organizationRate: '1', tokenRate: '0' } });
  const acme = await plane.createOrganization('acme');
  const umbrella = await plane.createOrganization('umbrella');
  const { token: second } = await acme.api.apiToken.create.mutate({ name: 'second' });
  await refusedOf(beyondBurst, () => call(plane.url, acme.token));
  const refused = await refusedOf(beyondRest, () => call(plane.url, second));
  assert.match(JSON.parse(await refused.text()).error.message, /^organization 'acme': more than 1 requests a second/);
  assert.equal((await call(plane.url, umbrella.token)).status, 200);
});

test('a person who is logged in shares the limit of the organization that he asks, by the API and the gateway alike', async () => {
  await using provider = await startOpenidProvider();
  const login = loginThrough(provider);
  await using plane = await startControlPlane({ ...login, options: { ...login.options, organizationRate: '1', tokenRate: '0' } });
  const [acme, umbrella] = [await plane.createOrganization('acme'), await plane.createOrganization('umbrella')];
  for (const { api } of [acme, umbrella]) await api.invitation.create.mutate({ email: 'alice@example.com', role: 'viewer' });
  const { token } = await logIn(plane.url);
  const ask = (organization: string): Promise<Response> =>
    fetch(`${plane.url}/trpc/contract.list?input=%7B%7D`, {
      headers: { authorization: `Bearer ${token}`, 'x-chainloop-organization': organization },
    });
  await refusedOf(beyondBurst, () => ask('acme'));
  await refusedOf(beyondRest, () => call(plane.url, token, '/v2/acme/tags/list'));
  await refusedOf(beyondRest, () => call(plane.url, acme.token));
  assert.equal((await ask('umbrella')).status, 200);
  assert.equal((await call(plane.url, token, '/v2/umbrella/tags/list')).status, 200);
});

test('a batch counts as its calls', async () => {
  await using plane = await startControlPlane({ options: { tokenRate: '1' } });
  const { token } = await plane.createOrganization('acme');
  const path = `/trpc/${Array(limits.requestBatch).fill('auth.whoami').join(',')}?batch=1&input=%7B%7D`;
  assert.equal((await call(plane.url, token, path)).status, 200);
  await refusedOf(limits.rateBurstSeconds / limits.requestBatch + 2, () => call(plane.url, token, path));
});

test('a client waits as long as it is told, says so, and gets through', async () => {
  await using plane = await startControlPlane({ options: { tokenRate: '2' } });
  const { token } = await plane.createOrganization('acme');
  await until('the burst is used up', async () => (await call(plane.url, token)).status !== 200, { everyMs: 0 });
  const waits: unknown[] = [];
  const api = createApi({ url: plane.url, token, onRetry: ({ cause }) => void waits.push(cause) });
  // More at once than can have flowed in since.
  const answers = await Promise.all(Array.from({ length: 8 }, () => api.auth.whoami.query()));
  assert.ok(answers.every(({ kind }) => kind === 'api'));
  assert.ok(waits.every((cause) => cause === 'RATE_LIMITED') && waits.length > 0);
});

test('connections beyond the limit are closed, and there is room again when others end', async () => {
  await using plane = await startControlPlane({ options: { maxConnections: '3' } });
  const { hostname, port } = new URL(plane.url);
  const open = async (): Promise<Socket> => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  const held = [await open(), await open(), await open()];
  const extra = await open();
  await once(extra, 'close');
  const [first] = held;
  assert.ok(first);
  first.destroy();
  const answered = async (): Promise<boolean> => (await fetch(`${plane.url}/healthz`).catch(() => undefined))?.ok === true;
  await until('there is room again', answered);
  for (const socket of held) socket.destroy();
});

test('when no connection to the database is free, a call is told to come back, and nothing waits for ever', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  await using plane = await startControlPlane({ database: { databaseUrl, connections: 1 } });
  const { token } = await plane.createOrganization('acme');
  const admin = new pg.Client({ connectionString: Object.assign(new URL(databaseUrl), { username: 'postgres' }).href });
  await admin.connect();
  await admin.query('begin');
  await admin.query('lock table tokens in access exclusive mode');
  const stuck = call(plane.url, token);
  const startedAt = performance.now();
  const [one, other] = await Promise.all([call(plane.url, token), call(plane.url, token, '/v2/acme/tags/list')]);
  assert.deepEqual([one.status, one.headers.get('retry-after'), other.status, other.headers.get('retry-after')], [503, '1', 503, '1']);
  assert.ok(performance.now() - startedAt < limits.databaseConnectTimeoutMs + 20_000);
  await admin.query('commit');
  assert.equal((await stuck).status, 200);
  assert.equal((await call(plane.url, token)).status, 200);
  await admin.end();
});

test('a rate limit ends a call that has no time left to wait, with the code and what to do', async () => {
  await using plane = await startControlPlane({ options: { tokenRate: '1' } });
  const { token } = await plane.createOrganization('acme');
  await refusedOf(beyondBurst, () => call(plane.url, token));
  const { auth } = createApi({ url: plane.url, token, retryBudgetMs: 0 });
  await assert.rejects(
    Promise.all(Array.from({ length: beyondRest }, () => auth.whoami.query())),
    (error) => isChainloopError(error, 'RATE_LIMITED') && /try again in a second/.test(error.message),
  );
});
