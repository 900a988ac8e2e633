import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { until } from '../test/until.ts';
import { connect } from './client.ts';
import { migratePostgres } from './migrate.ts';

test('an index that a migration brings to a database in use is built while others write', { timeout: 240_000 }, async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using postgres = await startPostgres();
  const databaseUrl = await postgres.createDatabase();
  // Up to the migration that brings these indexes, 0005.
  await migratePostgres(databaseUrl, 6);
  const open = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: Object.assign(new URL(databaseUrl), { username: 'postgres' }).href });
    await client.connect();
    return client;
  };
  const [before, other] = [await open(), await open()];
  // As the version before left it, but for one index that is half built.
  await before.query(
    'delete from drizzle.__drizzle_migrations where created_at = (select max(created_at) from drizzle.__drizzle_migrations)',
  );
  await before.query('drop index run_materials_uses');
  await before.query("update pg_index set indisvalid = false where indexrelid = 'tokens_newest_of_kind'::regclass");

  // A transaction that writes to the table, and will not end: to build an index as a migration does would wait for it, and all others behind that.
  const write = 'insert into organizations (name) values ($1)';
  await before.query('begin');
  await before.query('lock table run_materials in row exclusive mode');
  const migrating = connect({ databaseUrl });
  const waits =
    "select from pg_stat_activity where wait_event_type = 'Lock' and query like 'CREATE INDEX CONCURRENTLY%run_materials_uses%'";
  await until('the index waits for the transaction', async () => (await other.query(waits)).rowCount !== 0);
  await other.query("set lock_timeout = '1s'");
  await other.query('begin');
  await other.query('lock table run_materials in row exclusive mode');
  await other.query(write, ['written-meanwhile']);
  await other.query('commit');
  await before.query('commit');

  await using database = await migrating;
  assert.equal(database.kind, 'postgresql');
  const { rows } = await other.query(
    "select c.relname as name, indisvalid as valid from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname in ('run_materials_uses', 'tokens_newest_of_kind') order by 1",
  );
  assert.deepEqual(rows, [
    { name: 'run_materials_uses', valid: true },
    { name: 'tokens_newest_of_kind', valid: true },
  ]);
  await before.end();
  await other.end();
});
