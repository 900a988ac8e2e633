import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type SQL, sql } from 'drizzle-orm';
import pg from 'pg';
import { isChainloopError } from '../core/errors.ts';
import { forEachDatabase, newOrganization } from '../test/databases.ts';
import { type Postgres, startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { connect, type Database, type OrgScope } from './client.ts';
import { newWorkflow } from './fixtures.ts';
import { alone, prepareAlone, statementOf } from './statement.ts';
import { databaseRefusal } from './violation.ts';

const actor = { kind: 'system', id: null, name: 'test' } as const;

let started: Promise<Postgres> | undefined;
function postgres(): Promise<Postgres> {
  started ??= startPostgres();
  return started;
}
after(async () => (await started)?.[Symbol.asyncDispose]());

/** What there is to see for whom, without any WHERE: the organizations of the workflows and of the projects. */
const seen = sql`select org_id::text as org, pg_sleep(random() / 500) from workflows union all select org_id::text, null from projects`;
type Seen = { readonly org: string };

/** The ways of one request, each with the organizations that it saw. Some fail on purpose: then they saw none. */
const ways: readonly ((scope: OrgScope, round: number) => Promise<readonly Seen[]>)[] = [
  (scope) => scope.read(async (tx) => (await tx.execute<Seen>(seen)).rows),
  (scope) => scope.read(async (tx) => (await tx.execute<Seen>(seen)).rows, { inOrder: true }),
  (scope) => scope.statement<Seen>('seen', seen),
  (scope) => scope.run(async (tx) => (await tx.execute<Seen>(seen)).rows),
  // A statement that cannot be planned, one that breaks when it runs, one that may not write, and one with a wrong parameter.
  (scope) => scope.read(async (tx) => (await tx.execute<Seen>(sql`select absent from workflows`)).rows),
  (scope) =>
    scope.read(async (tx) => (await tx.execute<Seen>(sql`select org_id::text as org, 1 / (runs_count - runs_count) from workflows`)).rows),
  (scope) => scope.read(async (tx) => (await tx.execute<Seen>(sql`update workflows set team = 'x' returning org_id::text as org`)).rows),
  (scope) => scope.statement<Seen>('none', sql`select org_id::text as org from workflows where id = ${'no uuid'}::uuid`),
  // A transaction that is given up, and one that PostgreSQL gave up.
  (scope, round) =>
    scope.run(async (tx) => {
      await tx.execute(sql`update workflows set team = ${String(round)}`);
      throw new Error('given up');
    }),
  (scope) =>
    scope.run(async (tx) => {
      await tx.execute(sql`select 1 / 0`).catch(() => {});
      return (await tx.execute<Seen>(seen)).rows;
    }),
  // Somebody sets for the whole connection what is of a transaction: a mistake, which must not matter to the next request.
  (scope) =>
    scope.run(async (tx) => {
      await tx.execute(
        sql`select set_config('app.organization', ${scope.organizationId}, false), set_config('role', 'chainloop_app', false)`,
      );
      return (await tx.execute<Seen>(seen)).rows;
    }),
];

type Owner = { readonly id: string; readonly scope: OrgScope };

/** Two organizations, each with what there is to see. */
async function twoOwners(database: Database): Promise<readonly Owner[]> {
  const owners = [await newOrganization(database), await newOrganization(database)];
  for (const { scope } of owners) await newWorkflow(scope);
  return owners;
}

/** Many requests of two organizations at once, in an order that the seed says. Resolves to how many were answered and how many failed. */
async function storm(owners: readonly Owner[], requests: number): Promise<{ readonly answered: number; readonly failed: number }> {
  const outcomes = await Promise.all(
    Array.from({ length: requests }, async (_, round) => {
      const owner = owners[(round * 7 + (round >> 3)) % 2];
      const way = ways[(round * 5 + (round >> 4)) % ways.length];
      assert.ok(owner !== undefined && way !== undefined);
      const rows = await way(owner.scope, round).catch(() => undefined);
      const foreign = (rows ?? []).filter(({ org }) => org !== owner.id);
      assert.deepEqual(foreign, [], `request ${round}`);
      if (rows !== undefined) assert.equal(rows.length, 2, `request ${round}`);
      return rows !== undefined;
    }),
  );
  return { answered: outcomes.filter((answered) => answered).length, failed: outcomes.filter((answered) => !answered).length };
}

forEachDatabase('requests of two organizations at once, half of which fail, see no foreign row', async (_, database) => {
  const { answered, failed } = await storm(await twoOwners(database), 400);
  assert.ok(answered > 100 && failed > 100, `${answered} answered, ${failed} failed`);
});

for (const connections of [1, 4]) {
  test(`requests of two organizations on ${connections} connections that are cancelled and cut off see no foreign row`, async (t) => {
    if (!needs(t, 'postgresql')) return;
    const server = await postgres();
    await using database = await connect({ databaseUrl: server.url, connections });
    const owners = await twoOwners(database);
    await using saboteur = await connected(server.adminUrl);
    let over = false;
    const sabotage = (async () => {
      for (let round = 0; !over; round++) {
        const stop = round % 3 === 2 ? 'pg_terminate_backend' : 'pg_cancel_backend';
        await saboteur.client.query(
          `select ${stop}(pid), pg_sleep(0.005) from pg_stat_activity where application_name = 'chainloop' and state = 'active' limit 1`,
        );
      }
    })();
    const { answered } = await storm(owners, 600).finally(() => {
      over = true;
    });
    await sabotage;
    assert.ok(answered > 0);
    for (const { id, scope } of owners) {
      const { rows } = await scope.read((tx) => tx.execute<Seen>(seen));
      assert.deepEqual(
        rows.map(({ org }) => org),
        [id, id],
      );
    }
  });
}

forEachDatabase('a read that would write is refused, and so is a second statement', async (_, database) => {
  const { scope } = await newOrganization(database);
  const writing = scope.read((tx) => tx.execute(sql`insert into projects (org_id, name) values (${scope.organizationId}, 'p')`));
  await assert.rejects(writing, (error) => databaseRefusal(error)?.state === '25006');
  const twice = scope.read(async (tx) => [await tx.execute(sql`select 1`), await tx.execute(sql`select 2`)]);
  await assert.rejects(twice, ({ cause }) => /for several that belong together use run/.test(String(cause)));
});

test('a read whose connection is lost is asked again; a statement that may have happened is not', async (t) => {
  if (!needs(t, 'postgresql')) return;
  const server = await postgres();
  await using database = await connect({ databaseUrl: server.url, connections: 1 });
  await using admin = await connected(server.adminUrl);
  const { scope } = await newOrganization(database);
  const asleep = async (text: SQL) => {
    for (;;) {
      const { rows } = await admin.client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'chainloop' and wait_event = 'PgSleep'`,
      );
      if (rows.length > 0) return text;
    }
  };
  const slow = sql`select count(*)::int as one from (select pg_sleep(0.3)) s`;
  const [{ rows }] = await Promise.all([scope.read((tx) => tx.execute(slow)), asleep(slow)]);
  assert.deepEqual(rows, [{ one: 1 }]);
  const lost = assert.rejects(scope.statement('slow', slow), (error) => isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE'));
  await Promise.all([lost, asleep(slow)]);
});

/** One connection as pg has it, in pipeline mode. */
async function connected(connectionString: string) {
  const client = new pg.Client({ connectionString, pipeline: true });
  client.on('error', () => {});
  await client.connect();
  return { client, [Symbol.asyncDispose]: () => client.end().catch(() => {}) };
}

test('a connection remembers nobody, whatever became of the statement', async (t) => {
  if (!needs(t, 'postgresql')) return;
  const server = await postgres();
  await using database = await connect({ databaseUrl: server.url });
  const { id: organizationId } = await newOrganization(database);
  await using open = await connected(server.url);
  const { client } = open;
  const identity = { role: 'chainloop_app', organizationId, actor } as const;
  const manner = { readOnly: true, inOrder: true, anyValues: true };
  const who = `select current_user as who, current_setting('app.organization', true) as organization,
    current_setting('enable_bitmapscan') as bitmaps, current_setting('enable_seqscan') as tables, current_setting('transaction_read_only') as "readOnly"`;
  const nobody = { who: 'chainloop', organization: '', bitmaps: 'on', tables: 'on', readOnly: 'off' };
  const whoNow = async () => (await client.query({ text: who })).rows[0];

  // Before anything was prepared nothing is heard, least of all what was to be asked in somebody's name.
  await assert.rejects(alone(client, identity, manner, { text: who }), { code: '26000' });
  prepareAlone(client);
  assert.deepEqual(await whoNow(), nobody);
  const { rows } = await alone(client, identity, manner, { text: who });
  assert.deepEqual(rows, [{ who: 'chainloop_app', organization: organizationId, bitmaps: 'off', tables: 'off', readOnly: 'on' }]);
  assert.deepEqual(await whoNow(), nobody);
  for (const text of ['select 1 / 0', 'select absent', `select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)`]) {
    await assert.rejects(alone(client, identity, manner, { name: text, text }));
    assert.deepEqual(await whoNow(), nobody);
  }
  // Sent at once, without waiting: each is its own.
  const [first, plain, second] = await Promise.all([
    alone(client, identity, manner, { text: who }),
    whoNow(),
    alone(client, identity, manner, { text: who }),
  ]);
  assert.deepEqual([first.rows, plain, second.rows], [rows, nobody, rows]);
});

test('a statement that pg refuses to send takes its connection with it', async (t) => {
  if (!needs(t, 'postgresql')) return;
  const server = await postgres();
  await using database = await connect({ databaseUrl: server.url });
  const { id: organizationId } = await newOrganization(database);
  await using open = await connected(server.url);
  const identity = { role: 'chainloop_app', organizationId, actor } as const;
  const manner = { readOnly: true, inOrder: false, anyValues: false };
  prepareAlone(open.client);
  await alone(open.client, identity, manner, { name: 'same', text: 'select 1' });
  // Had it stayed, the next statement would have been heard in the name of that organization.
  const ended = await Promise.allSettled([
    alone(open.client, identity, manner, { name: 'same', text: 'select 2' }),
    open.client.query(`select current_setting('app.organization', true)`),
  ]);
  assert.deepEqual(
    ended.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
});

test('a list is written once for what is asked for, and the values go to their places', () => {
  let count = 0;
  const asked = (organizationId: string, values: Parameters<typeof statementOf>[2]) =>
    statementOf('test', { organizationId }, values, (organization, { project, state }, few) => {
      count++;
      return sql`select ${project ?? null}, ${state}, ${organization}, ${project ?? 0} limit ${few}`;
    });
  const first = asked('ours', { limit: 10, project: 'a', state: 'success' });
  const second = asked('theirs', { limit: 50, project: undefined, state: 'failed' });
  const third = asked('theirs', { limit: 20, state: '$1', project: '' });
  assert.deepEqual(first.values, ['a', 'success', 'ours', 'a']);
  assert.deepEqual(second.values, [null, 'failed', 'theirs', 0]);
  assert.deepEqual(asked('ours', { limit: 10, state: 'success' }).values, [null, 'success', 'ours', 0]);
  assert.deepEqual(third.values, ['', '$1', 'theirs', '']);
  assert.equal(first.text, third.text);
  assert.notEqual(asked('ours', { limit: 51, project: 'a', state: 'success' }).text, first.text);
  assert.equal(count, 4);
});
