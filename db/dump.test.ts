import assert from 'node:assert/strict';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { sql } from 'drizzle-orm';
import * as z from 'zod';
import { databaseKinds } from '../test/databases.ts';
import { furnished } from '../test/fakes/furnished.ts';
import { startPostgres } from '../test/fakes/postgres.ts';
import { needs } from '../test/needs.ts';
import { connect } from './client.ts';
import { type Dumped, dump } from './dump.ts';
import { load } from './load.ts';
import { openRun } from './run-states.ts';
import { openSession, type Place, type Session } from './session.ts';

/** A place for a database of the kind, and whoever sees all of its rows: the superuser. */
async function place(
  t: TestContext,
  kind: Dumped['kind'],
  stack: AsyncDisposableStack,
): Promise<{ readonly own: Place; readonly admin: Place }> {
  if (kind === 'pglite') {
    const folder = join(stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-dump-'))).path, 'database');
    return { own: { folder }, admin: { folder } };
  }
  if (!needs(t, 'postgresql')) throw new Error('asked before');
  const postgres = stack.use(await startPostgres());
  const databaseUrl = await postgres.createDatabase();
  return { own: { databaseUrl }, admin: { databaseUrl: databaseUrl.replace('chainloop@', 'postgres@') } };
}

const optionsOf = (at: Place) => ('folder' in at ? { dataDir: at.folder } : at);
const Names = z.array(z.object({ name: z.string() }));
const publicTables = `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by relname`;

async function tablesOf(session: Session): Promise<readonly string[]> {
  return Names.parse((await session.query(publicTables)).rows).map(({ name }) => name);
}

/** Everything that guards the rows, and how many there are, as the superuser sees them. */
async function stateOf(session: Session): Promise<unknown> {
  const answers: unknown[] = [];
  await session.query("set timezone to 'UTC'");
  for (const name of await tablesOf(session)) {
    answers.push(
      (
        await session.query(
          `select '${name}' as name, count(*)::int as rows, md5(string_agg(t::text, '|' order by t::text collate "C")) as md5 from "${name}" t`,
        )
      ).rows,
    );
  }
  for (const query of [
    'select relname, relrowsecurity, relforcerowsecurity from pg_class where relnamespace = $1::regnamespace order by relname',
    `select conname, convalidated, pg_get_constraintdef(oid) as text from pg_constraint where contype <> 'n' and connamespace = $1::regnamespace order by conname`,
    'select indexname, indexdef from pg_indexes where schemaname = $1 order by indexname',
    'select tgname, tgenabled from pg_trigger join pg_class c on c.oid = tgrelid where not tgisinternal and relnamespace = $1::regnamespace order by tgname',
    // The owner of the tables is whoever restored them.
    `select tablename, policyname, array(select case role when tableowner then 'the owner' else role end from unnest(roles) role) as roles, cmd, qual, with_check
      from pg_policies join pg_tables using (schemaname, tablename) where schemaname = $1 order by 1, 2`,
    `select table_name, grantee, privilege_type from information_schema.role_table_grants where table_schema = $1 and grantee like 'chainloop_%' order by 1, 2, 3`,
  ]) {
    answers.push((await session.query(query, ['public'])).rows);
  }
  return answers;
}

/** The lines of a dump, and what its last one says. */
async function collected(
  lines: AsyncIterable<string>,
): Promise<{ readonly rows: { table: string; json: string }[]; readonly end: Dumped }> {
  let text = '';
  for await (const piece of lines) text += piece;
  const all = text.trimEnd().split('\n');
  const { $end } = JSON.parse(all.pop() ?? '');
  const rows = all.map((line) => {
    const [prefix = '', table = ''] = /^\{"(\w+)":/.exec(line) ?? [];
    return { table, json: line.slice(prefix.length, -1) };
  });
  return { rows, end: $end };
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

for (const kind of databaseKinds) {
  const other = kind === 'pglite' ? 'postgresql' : 'pglite';
  test(`a dump of ${kind} has every row of every table, of one moment; loaded in ${other} they are the same, and so is all that guards them`, async (t) => {
    if (!needs(t, 'postgresql')) return;
    await using stack = new AsyncDisposableStack();
    const { own, admin } = await place(t, kind, stack);
    const database = await connect(optionsOf(own));
    const first = await furnished(database);
    await furnished(database);
    const counts = async (): Promise<Readonly<Record<string, number>>> => {
      await using session = await openSession(admin);
      const found: Record<string, number> = {};
      for (const name of await tablesOf(session))
        found[name] = Number((await session.query(`select count(*) as n from "${name}"`)).rows[0]?.n);
      return found;
    };
    // The owner token is of no organization: no policy of a tenant shows it.
    await database.system.run((tx) =>
      tx.execute(sql`insert into tokens (kind, name, hash) values ('owner', 'owner', ${Buffer.alloc(32)})`),
    );
    await database.system.run((tx) =>
      tx.execute(sql`insert into settings (key, value) values ('a', 'line separators   and \n stay inside')`),
    );
    const opening = async (): Promise<void> => {
      const options = { workflowId: first.workflowId, runner: { authenticated: false }, expiresAt: new Date('2099-01-01') };
      await openRun(first.scope, { ...options, idempotencyKey: `while it is read, one ${Math.random()}` });
    };
    let writes: Promise<void> | undefined;
    const { end } = await database.dump((lines) =>
      collected(
        (async function* () {
          for await (const piece of lines) {
            // PGlite has one session: there a write waits for the end of the dump.
            if (writes === undefined) {
              writes = opening();
              if (kind === 'postgresql') await writes;
            }
            yield piece;
          }
        })(),
      ),
    );
    await writes;
    await database.close();
    const found = await counts();
    const without = Object.keys(found).filter((name) => found[name] === 0);
    assert.deepEqual(without, [], 'test/fakes/furnished.ts has a row for each table: what has none here is not proven to be in a backup');
    const dumped = Object.fromEntries(Object.entries(end.tables).map(([name, { rows }]) => [name, rows]));
    assert.deepEqual(dumped, {
      ...found,
      runs: (found.runs ?? 0) - 1,
      audit_log: (found.audit_log ?? 0) - 1,
      runner_counts: dumped.runner_counts,
    });

    const target = await place(t, other, stack);
    await using before = await openSession(admin);
    const again = await collected(dump(before, kind));
    {
      await using session = await openSession(target.own, { make: true });
      await load(session, again.end, each(again.rows));
      await assert.rejects(load(session, again.end, each(again.rows)), { code: 'CONFLICT', message: /is not empty/ });
    }
    await using after = await openSession(target.admin);
    assert.equal(JSON.stringify(await stateOf(after), null, 1), JSON.stringify(await stateOf(before), null, 1));
  });
}

test('what ends in the middle leaves the database empty, and the same restore then succeeds; a newer dump is refused', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using stack = new AsyncDisposableStack();
  const { own } = await place(t, 'postgresql', stack);
  const database = await connect(optionsOf(own));
  await furnished(database);
  const { rows, end } = await database.dump(collected);
  await database.close();
  const target = (await place(t, 'postgresql', stack)).own;
  {
    await using session = await openSession(target);
    const newer = { ...end, migrations: [...end.migrations, 'of tomorrow'] };
    await assert.rejects(load(session, newer, each(rows)), { code: 'USAGE', message: /newer version/ });
    const cut = (async function* () {
      yield* rows.slice(0, -1);
      throw new Error('cut off');
    })();
    await assert.rejects(load(session, end, cut), /cut off/);
  }
  await using session = await openSession(target);
  await load(session, end, each(rows));
});

test('a database of something else is not restored into', async (t) => {
  if (!needs(t, 'postgresql')) return;
  await using stack = new AsyncDisposableStack();
  const { own } = await place(t, 'postgresql', stack);
  await using session = await openSession(own);
  await session.query('create table accounts ()');
  if ('databaseUrl' in own)
    await assert.rejects(openSession({ databaseUrl: `${own.databaseUrl}_gone` }), { code: 'USAGE', message: /_gone" does not exist/ });
  const nothing: Dumped = { kind: 'pglite', takenAt: '2026-11-23T10:00:00Z', migrations: [], tables: {} };
  await assert.rejects(load(session, nothing, each([])), { code: 'CONFLICT', message: /tables of something else/ });
});
