import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import { isChainloopError } from '../core/errors.ts';
import { newOrganization, openDatabase } from '../test/databases.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { record } from '../test/faults/reliability.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';
import { auditHead } from './audit.ts';
import { connect } from './client.ts';
import { newWorkflow, openedRun, someAttested } from './fixtures.ts';
import { pushRun } from './run-states.ts';
import { describeWorkflow } from './workflows.ts';

const workers = 8;

test('a head of the audit log is shown when the disk has all of its rows: no crash takes back what an auditor has kept', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using server = await startPostgres({ fsync: true });
  await using database = await connect({ databaseUrl: server.url });
  const { id, scope } = await newOrganization(database);
  // A server that has committed, and whose flush is not on its way yet; nobody else flushes for it.
  const writer = new pg.Client({ connectionString: server.url });
  const admin = new pg.Client({ connectionString: server.adminUrl });
  await Promise.all([writer.connect(), admin.connect()]);
  await admin.query(`alter system set wal_writer_delay = '10s'`);
  await admin.query('select pg_reload_conf()');
  await writer.query(`begin; set local role chainloop_app; set local app.organization = '${id}'; set local app.flushes = 'yes';
    insert into projects (org_id, name) values ('${id}', 'unflushed'); commit`);
  const { rows } = await admin.query(`select pg_current_wal_insert_lsn()::text as written`);
  await auditHead(scope);
  const { rows: flushed } = await admin.query('select pg_current_wal_flush_lsn() >= $1::pg_lsn as all', [rows[0].written]);
  assert.equal(flushed[0].all, true);
  await Promise.all([writer.end(), admin.end()]);
});

for (const mode of ['fast', 'immediate'] as const) {
  test(`F8: PostgreSQL restarts (${mode}) under ${workers} writers: nothing acknowledged is lost, and the process lives`, async (t) => {
    if (!needs(t, 'postgresql')) return;
    await using server = await startPostgres({ fsync: true });
    await using database = await connect({ databaseUrl: server.url });
    const { scope } = await newOrganization(database);
    const workflow = await newWorkflow(scope);
    const acknowledged = new Set<string>();
    const refusals = new Set<unknown>();
    const acknowledgedAt: number[] = [];
    let stopped = false;
    t.after(() => {
      stopped = true;
    });

    const writers = Array.from({ length: workers }, async () => {
      while (!stopped) {
        const key = randomUUID();
        // What a caller does: the same call again, until it is answered.
        while (!stopped) {
          try {
            const { id } = await openedRun(scope, workflow.id, undefined, key);
            const { type } = await pushRun(scope, id, someAttested(key), new Date());
            assert.ok(type === 'accepted' || type === 'same', type);
            acknowledged.add(id);
            acknowledgedAt.push(performance.now());
            break;
          } catch (error) {
            refusals.add(error);
          }
        }
      }
    });
    const someMore = async () => {
      const enough = acknowledged.size + 100;
      await until('more is acknowledged', () => acknowledged.size >= enough, { everyMs: 0 });
    };
    await someMore();
    const downFrom = performance.now();
    await server.restart(mode);
    const upAgain = performance.now();
    await someMore();
    stopped = true;
    await Promise.all(writers);

    for (const error of refusals) assert.ok(isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE'), String(error));
    const { rows } = await scope.read((tx) => tx.execute<{ id: string }>(sql`select id from runs where state = 'success'`));
    const kept = new Set(rows.map(({ id }) => id));
    assert.deepEqual([...acknowledged.difference(kept)], []);
    const counted = await describeWorkflow(scope, workflow);
    assert.deepEqual([counted.runsSuccess, counted.runsCount], [kept.size, kept.size]);
    const gap = Math.max(...acknowledgedAt.map((at, index) => at - (acknowledgedAt[index - 1] ?? at)));
    record(t, {
      fault: 'F8',
      what: `PostgreSQL restarts (${mode}) under ${workers} writers, seen by the store`,
      trials: 1,
      sees: 'a refusal that is tried again',
      stored: 'every acknowledged push, once; counters are as the rows',
      figure: `${acknowledged.size} acknowledged, ${refusals.size} refused; longest gap ${Math.round(gap)} ms, of which PostgreSQL was away ${Math.round(upAgain - downFrom)} ms`,
    });
  });
}

test('a PostgreSQL that is gone is CONTROL_PLANE_UNREACHABLE, and says nothing of where it was', async (t) => {
  if (!needs(t, 'postgresql')) return;
  const server = await startPostgres();
  await using database = await connect({ databaseUrl: server.url });
  await database.ping();
  await server[Symbol.asyncDispose]();
  await assert.rejects(
    database.ping(),
    (error) => isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE') && !error.message.includes('127.0.0.1'),
  );
});

for (const [what, url] of [
  ['no address', 'localhost'],
  ['another scheme', 'mysql://u:s3cret@127.0.0.1/x'],
  ['a host with a space', 'postgres://u:s3cret@a b/x'],
] as const) {
  test(`a DATABASE_URL that is ${what} is refused without its password`, async () => {
    await assert.rejects(connect({ databaseUrl: url }), (error) => isChainloopError(error, 'USAGE') && !error.message.includes('s3cret'));
  });
}

test('a database that is not there, and a server that is not there, are told apart', async (t) => {
  if (!needs(t, 'postgresql')) return;
  const server = await startPostgres();
  const absent = `${server.url}-absent`;
  await assert.rejects(
    connect({ databaseUrl: absent }),
    (error) => isChainloopError(error, 'USAGE') && error.message.includes('"chainloop-absent"'),
  );
  await server[Symbol.asyncDispose]();
  await assert.rejects(
    connect({ databaseUrl: absent }),
    (error) => isChainloopError(error, 'CONTROL_PLANE_UNREACHABLE') && error.message.includes('127.0.0.1'),
  );
});

test('servers that start at once on an empty database all come up', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using server = await startPostgres();
  const url = await server.createDatabase();
  await Promise.all(
    Array.from({ length: 6 }, async (_, index) => {
      // Half of them on another database of the same PostgreSQL, which has its own lock but shares the roles.
      await using database = await connect({ databaseUrl: index % 2 === 0 ? url : server.url });
      await newOrganization(database);
    }),
  );
});

test('a user who may not make the roles is told what an administrator has to run, and then it works', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using server = await startPostgres();
  await (await connect({ databaseUrl: server.adminUrl })).close();
  const plain = server.url.replace('chainloop@', 'plain@');
  await sqlAs(server.adminUrl, 'create role plain login', 'alter database chainloop owner to plain');
  await assert.rejects(
    connect({ databaseUrl: plain }),
    (error) => isChainloopError(error, 'USAGE') && error.message.includes('to "plain"'),
  );
  await sqlAs(server.adminUrl, 'grant chainloop_app, chainloop_system to "plain"');
  await using database = await connect({ databaseUrl: plain });
  await newOrganization(database);
});

test('a transaction that is the victim of a deadlock is run again', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using database = await openDatabase('postgresql');
  const { scope } = await newOrganization(database);
  const [one, two] = [await newWorkflow(scope), await newWorkflow(scope)];
  const met = Promise.withResolvers<void>();
  let first = 0;
  const rename = (ids: readonly string[]) => {
    let attempt = 0;
    return scope.run(async (tx) => {
      attempt += 1;
      for (const id of ids) {
        await tx.execute(sql`update workflows set team = team || 'x' where id = ${id}`);
        if (attempt > 1) continue;
        first += 1;
        if (first === 2) met.resolve();
        await met.promise;
      }
    });
  };
  await Promise.all([rename([one.id, two.id]), rename([two.id, one.id])]);
  assert.deepEqual([(await describeWorkflow(scope, one)).team, (await describeWorkflow(scope, two)).team], ['corexx', 'corexx']);
});

async function sqlAs(url: string, ...statements: readonly string[]): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  for (const statement of statements) await client.query(statement);
  await client.end();
}
