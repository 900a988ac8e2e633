import assert from 'node:assert/strict';
import { mkdtempDisposable, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../db/client.ts';
import { migratedSnapshot } from '../test/databases.ts';
import { startControlPlane } from '../test/fakes/control-plane.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';
import { createLog } from './log.ts';
import { ensureOwnerToken } from './owner-token.ts';

const folder = () => mkdtempDisposable(join(tmpdir(), 'chainloop-main-'));
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

test('a data directory keeps organization, owner token and keys over a restart, for its owner alone', async () => {
  await using parent = await folder();
  const dataDir = join(parent.path, 'new', 'data');
  const onDisk = { dataDir, database: { dataDir: join(dataDir, 'database') } };
  let ownerToken: string;
  {
    await using plane = await startControlPlane(onDisk);
    ({ ownerToken } = plane);
    await plane.createOrganization('acme');
    assert.equal(await readFile(join(dataDir, 'owner-token'), 'utf8'), `${ownerToken}\n`);
    assert.deepEqual(
      await Promise.all([dataDir, join(dataDir, 'owner-token'), join(dataDir, 'master-key')].map(modeOf)),
      [0o700, 0o600, 0o600],
    );
    assert.ok(plane.log.join('').includes(join(dataDir, 'owner-token')));
    assert.ok(!plane.log.join('').includes(ownerToken), 'the log names the file, never the token');
    await assert.rejects(startControlPlane(onDisk), { code: 'CONFLICT', message: /database/ });
    await plane.api(ownerToken, 'acme').organization.describe.query();
  }
  await using plane = await startControlPlane(onDisk);
  assert.equal(plane.ownerToken, ownerToken);
  assert.equal((await plane.api(ownerToken, 'acme').organization.describe.query()).name, 'acme');
});

test('a first start that was cut short after it wrote the owner token goes on with that token', async () => {
  await using dir = await folder();
  await using database = await connect({ memory: await migratedSnapshot() });
  const deps = { database, dataDir: dir.path, log: createLog('silent', { write: () => undefined }) };
  const token = await ensureOwnerToken(deps);
  assert.ok(token !== undefined);
  await using again = await connect({ memory: await migratedSnapshot() });
  assert.equal(await ensureOwnerToken({ ...deps, database: again }), token);
  assert.deepEqual(await readdir(dir.path), ['owner-token'], 'nothing else is left');

  await rm(join(dir.path, 'owner-token'));
  assert.equal(await ensureOwnerToken(deps), undefined, 'an instance has one; it may be elsewhere');
  await writeFile(join(dir.path, 'owner-token'), 'damaged');
  await using third = await connect({ memory: await migratedSnapshot() });
  await assert.rejects(ensureOwnerToken({ ...deps, database: third }), { code: 'USAGE', message: /remove the file/ });
});

test('several servers on one PostgreSQL agree on the owner, and see what the others do', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using postgres = await startPostgres();
  const database = { databaseUrl: await postgres.createDatabase() };
  await using dir = await folder();
  const [first, second] = await Promise.all([
    startControlPlane({ database, dataDir: dir.path }),
    startControlPlane({ database, dataDir: dir.path }),
  ]);
  await using stack = new AsyncDisposableStack();
  stack.use(first);
  stack.use(second);
  assert.equal(first.ownerToken, second.ownerToken);
  const { id, token } = await first.createOrganization('acme').then(async ({ api }) => api.apiToken.create.mutate({ name: 'shared' }));
  assert.equal((await second.api(token).auth.whoami.query()).organization, 'acme');
  await first.api(first.ownerToken, 'acme').apiToken.revoke.mutate({ id });
  await assert.rejects(second.api(token).auth.whoami.query(), { code: 'TOKEN_REVOKED' });
});

test('a token shows when it was last used, and is not written to at every use', async () => {
  let now = Date.now();
  await using plane = await startControlPlane({ now: () => new Date(now) });
  const { api } = await plane.createOrganization('acme');
  const lastUse = async (): Promise<string | null | undefined> => (await api.apiToken.list.query({})).items[0]?.lastUsedAt;
  const settled = async (earlier: string | null | undefined): Promise<string | null | undefined> => {
    let at: string | null | undefined;
    await until('the use is written down', async () => {
      at = await lastUse();
      return at !== earlier;
    });
    return at;
  };
  const first = await settled(null);
  assert.equal(first, new Date(now).toISOString());
  now += 59_000;
  assert.equal(await lastUse(), first);
  assert.equal(await lastUse(), first);
  now += 2_000;
  assert.equal(await settled(first), new Date(now).toISOString());
});

test('a server on an address that is taken makes nothing', async () => {
  await using parent = await folder();
  await using plane = await startControlPlane();
  const dataDir = join(parent.path, 'data');
  const taken = startControlPlane({ dataDir, options: { listen: new URL(plane.url).host } });
  await assert.rejects(taken, { code: 'USAGE', message: /cannot listen on 127\.0\.0\.1:\d+: something listens there already/ });
  assert.deepEqual(await readdir(parent.path), []);
});

test('a server on all addresses names one that can be called', async () => {
  await using plane = await startControlPlane({ options: { listen: '0.0.0.0:0' } });
  assert.match(plane.url, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await fetch(`${plane.url}/healthz`)).status, 200);
});
