import { createHash } from 'node:crypto';
import * as z from 'zod';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Session } from './session.ts';

/** What a dump has of a table. `sha256` is of its lines, with their ends. */
export const DumpedTable = z.strictObject({
  columns: z.array(z.string()).min(1),
  rows: z.int().nonnegative(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type DumpedTable = z.infer<typeof DumpedTable>;

/** The last line of a dump: what it must have been. */
export const Dumped = z.strictObject({
  kind: z.enum(['postgresql', 'pglite']),
  /** The moment that all rows are of. */
  takenAt: z.iso.datetime(),
  /** Digests of the migrations that made the schema. */
  migrations: z.array(z.string()),
  tables: z.record(z.string(), DumpedTable),
});
export type Dumped = z.infer<typeof Dumped>;

/** How a dump sees the rows of a table: all of them, or those of one organization after the other. */
type Seen = { readonly name: string; readonly columns: string[]; readonly role: 'chainloop_system' | 'chainloop_app' };

/**
 * All rows, in pieces of whole lines, one for each: `{"<table>":{<column>:<value>,…}}`, values as PostgreSQL says them in JSON. The last line is
 * `{"$end":<Dumped>}`; without it the dump is not whole. It goes as fast as it is read: memory does not grow.
 *
 * One snapshot of all tables of the schema, whichever they are, while others write (repeatable read). The walls stay up: what the system
 * role may read is read as that role, the rest as each organization in turn, so that a backup needs no right beyond a server's.
 */
export async function* dump(session: Session, kind: Dumped['kind']): AsyncGenerator<string> {
  await session.query('begin isolation level repeatable read read only');
  let ended = false;
  try {
    const migrations = await migrationsOf(session);
    if (migrations.length === 0) throw new ChainloopError('NOT_FOUND', 'database: no server has ever used it; there is nothing to back up');
    const seen = await tablesOf(session);
    const [takenAt = ''] = await values(session, `select to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as value`);
    await session.query('set local role chainloop_system');
    const organizations = await values(session, 'select id::text as value from organizations order by id');

    const tables: Record<string, DumpedTable> = {};
    for (const { name, columns, role } of seen) {
      const hash = createHash('sha256');
      let rows = 0;
      for (const organization of role === 'chainloop_system' ? [''] : organizations) {
        await session.query(`set local role ${role}`);
        await session.query(`select set_config('app.organization', $1, true)`, [organization]);
        for await (const page of rowsOf(session, name)) {
          const lines = page.map((row) => `{"${name}":${row}}\n`).join('');
          hash.update(lines);
          rows += page.length;
          yield lines;
        }
      }
      tables[name] = { columns, rows, sha256: hash.digest('hex') };
    }
    await session.query('commit');
    ended = true;
    yield `${JSON.stringify({ $end: { kind, takenAt, migrations, tables } satisfies Dumped })}\n`;
  } finally {
    if (!ended) await session.query('rollback').catch(() => {});
  }
}

/** The digests of the migrations that a database has seen, in their order; none when it is no database of ours. */
export async function migrationsOf(session: Session): Promise<string[]> {
  const [table] = await values(session, `select coalesce(to_regclass('drizzle.__drizzle_migrations')::text, '') as value`);
  return table === '' ? [] : values(session, 'select hash as value from drizzle.__drizzle_migrations order by created_at, id');
}

const Tables = z.array(z.object({ name: z.string(), columns: z.array(z.string()), system: z.boolean(), app: z.boolean() }));

/** From the catalogue, so that a new table is never forgotten. One that nobody may read is a defect of its migration. */
async function tablesOf(session: Session): Promise<readonly Seen[]> {
  const { rows } = await session.query(`
    select c.relname as name, has_table_privilege('chainloop_app', c.oid, 'select') as app,
      has_table_privilege('chainloop_system', c.oid, 'select') and exists (
        select from pg_policy p where p.polrelid = c.oid and p.polcmd in ('r', '*') and pg_get_expr(p.polqual, p.polrelid) = 'true'
          and p.polroles @> array(select oid from pg_roles where rolname = 'chainloop_system')) as system,
      array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum) as columns
    from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by c.relname`);
  return Tables.parse(rows).map(({ name, columns, system, app }) => {
    if (!system && !app) throw new Error(`table ${name}: neither role may read it, so it cannot be backed up`);
    return { name, columns, role: system ? 'chainloop_system' : 'chainloop_app' };
  });
}

const Page = z.array(z.object({ row: z.string() }));

/** The next page is asked for while this one is written. */
async function* rowsOf(session: Session, table: string): AsyncGenerator<readonly string[]> {
  await session.query(`declare backup no scroll cursor for select row_to_json(t)::text as row from "${table}" t`);
  const fetch = () => session.query(`fetch ${limits.backupPageRows} from backup`);
  let next = fetch();
  for (;;) {
    const page = Page.parse((await next).rows).map(({ row }) => row);
    const last = page.length < limits.backupPageRows;
    if (!last) next = fetch();
    // Whoever waits for this page may give up: then nobody waits for the next one.
    next.catch(() => {});
    if (page.length > 0) yield page;
    if (last) break;
  }
  await session.query('close backup');
}

async function values(session: Session, text: string): Promise<string[]> {
  return z
    .array(z.object({ value: z.string() }))
    .parse((await session.query(text)).rows)
    .map(({ value }) => value);
}
