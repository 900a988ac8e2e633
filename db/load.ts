import * as z from 'zod';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type Dumped, migrationsOf } from './dump.ts';
import { knownMigrations } from './migrate.ts';
import type { OpenSession, Session } from './session.ts';
import { instanceSetting } from './settings.ts';

/** A row of a dump: its table, and its columns as JSON. */
export type DumpedRow = { readonly table: string; readonly json: string };

/**
 * Puts the rows of a dump into an empty database of either kind, whose schema becomes that of the dump: a server brings it up to date when it
 * starts. One transaction: all of it, or nothing. `rows` ends by an error when they are not what `dumped` says. Throws CONFLICT when the
 * database is not empty, USAGE for a dump of a newer version.
 */
export async function load(session: OpenSession, dumped: Dumped, rows: AsyncIterable<DumpedRow>): Promise<void> {
  await prepare(session, dumped);
  await session.query('begin');
  const tables = await tablesOf(session);
  const names = Object.keys(dumped.tables);
  if (names.length !== tables.length || tables.some(({ name }) => !names.includes(name))) {
    throw new Error(`the backup has the tables ${names.join(', ')}, and its schema ${tables.map(({ name }) => name).join(', ')}`);
  }
  // The walls and guards are for servers, and none is here yet: the owner takes them down, for this transaction alone.
  for (const { name } of tables) await session.query(`alter table "${name}" no force row level security, disable trigger user`);
  for (const { name } of tables) {
    const { rows: found } = await session.query(`select exists (select from "${name}") as value`);
    if (found[0]?.value !== false) throw notEmpty(`table ${name} has rows`);
  }
  // Rows come in no order of their references: these are checked at the end, all at once, which is also faster.
  const references = await definitions(
    session,
    `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as drop,
      format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) as make
    from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace order by conname`,
  );
  const indexes = await definitions(
    session,
    `select format('drop index %s', i.indexrelid::regclass) as drop, pg_get_indexdef(i.indexrelid) as make
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = 'public'::regnamespace and not exists (select from pg_constraint where conindid = i.indexrelid) order by c.relname`,
  );
  for (const { drop } of [...references, ...indexes]) await session.query(drop);
  await insert(session, dumped, rows);
  for (const { make } of [...indexes, ...references]) await session.query(make);
  await setSequences(session);
  for (const { name } of tables) {
    const { rows: counted } = await session.query(`select count(*)::int as value from "${name}"`);
    if (counted[0]?.value !== dumped.tables[name]?.rows)
      throw new Error(`table ${name} has ${counted[0]?.value} rows after it was restored`);
  }
  // What is restored is another control plane than the one that the backup is of, which may still be there (server/storage/keeper.ts).
  await session.query(`delete from settings where key = '${instanceSetting}'`);
  for (const { name, forced } of tables) {
    await session.query(`alter table "${name}" ${forced ? '' : 'no '}force row level security, enable trigger user`);
  }
  await session.query('commit');
  await session.query('analyze');
}

async function prepare(session: OpenSession, { migrations }: Dumped): Promise<void> {
  const known = knownMigrations();
  if (migrations.some((digest, index) => known[index] !== digest)) {
    throw new ChainloopError('USAGE', 'backup: it was made by a newer version of chainloop, or by another build; restore it with that one');
  }
  const there = await migrationsOf(session);
  if (there.length > migrations.length || there.some((digest, index) => known[index] !== digest)) {
    throw notEmpty('a server of another version has used it');
  }
  if (there.length === 0) {
    const { rows } = await session.query(`select relname as value from pg_class where relnamespace = 'public'::regnamespace limit 1`);
    if (rows[0] !== undefined) throw notEmpty('it has tables of something else');
  }
  await session.migrate(migrations.length);
}

function notEmpty(why: string): ChainloopError {
  return new ChainloopError('CONFLICT', `database: it is not empty: ${why}; nothing was changed. Restore into a new database`);
}

const Tables = z.array(z.object({ name: z.string(), forced: z.boolean() }));

async function tablesOf(session: Session): Promise<z.infer<typeof Tables>> {
  const { rows } = await session.query(`select relname as name, relforcerowsecurity as forced from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition order by relname`);
  return Tables.parse(rows);
}

const Definitions = z.array(z.object({ drop: z.string(), make: z.string() }));

async function definitions(session: Session, text: string): Promise<z.infer<typeof Definitions>> {
  return Definitions.parse((await session.query(text)).rows);
}

/** Many rows in one statement; the columns by name, so that PostgreSQL reads each value as it wrote it. */
async function insert(session: Session, dumped: Dumped, rows: AsyncIterable<DumpedRow>): Promise<void> {
  let table = '';
  let page: string[] = [];
  let sizeBytes = 0;
  const flush = async (): Promise<void> => {
    if (page.length === 0) return;
    const columns = dumped.tables[table]?.columns.map((name) => `"${name}"`).join(', ');
    await session.query(
      `insert into "${table}" (${columns}) overriding system value select ${columns} from json_populate_recordset(null::"${table}", $1::json)`,
      [`[${page.join(',')}]`],
    );
    page = [];
    sizeBytes = 0;
  };
  for await (const row of rows) {
    if (row.table !== table || page.length === limits.backupPageRows || sizeBytes > limits.backupPageSizeBytes) await flush();
    table = row.table;
    page.push(row.json);
    sizeBytes += row.json.length;
  }
  await flush();
}

const Sequences = z.array(z.object({ statement: z.string() }));

/** What counts goes on behind the last row. */
async function setSequences(session: Session): Promise<void> {
  const { rows } = await session.query(`
    select format('select setval(%L, (select coalesce(max(%I), 0) + 1 from %s), false)',
      pg_get_serial_sequence(c.oid::regclass::text, a.attname), a.attname, c.oid::regclass) as statement
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
      and pg_get_serial_sequence(c.oid::regclass::text, a.attname) is not null`);
  for (const { statement } of Sequences.parse(rows)) await session.query(statement);
}
