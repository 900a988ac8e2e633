import { readMigrationFiles } from 'drizzle-orm/migrator';
import type pg from 'pg';
import * as z from 'zod';
import { databaseRefusal } from './violation.ts';

/**
 * Builds the indexes of migrations that are still to come, `CREATE INDEX IF NOT EXISTS` in them, beside whoever reads and writes: within a
 * migration an index of ten million rows would keep all writers waiting for half a minute. Those of tables or columns that are not there yet are left to the migration,
 * where they take no time; a column is added first where its migration says `ADD COLUMN IF NOT EXISTS`.
 */
export async function prebuildIndexes(client: pg.Client, migrationsFolder: string): Promise<void> {
  const { rows: applied } = await client
    .query<{ at: string }>('select max(created_at)::text as at from drizzle.__drizzle_migrations')
    .catch((error: unknown) => {
      if (isAbsent(error)) return { rows: [] };
      throw error;
    });
  const last = applied[0]?.at ?? null;
  // A new database: its tables are empty.
  if (last === null) return;
  // What a server left that was killed in the middle of one.
  const { rows: broken } = await client.query<{ name: string }>(
    `select indexrelid::regclass::text as name from pg_index join pg_class on pg_class.oid = indexrelid
    where not indisvalid and relnamespace = 'public'::regnamespace`,
  );
  for (const { name } of broken) await client.query(`drop index concurrently if exists ${name}`);
  const pending = readMigrationFiles({ migrationsFolder }).filter(({ folderMillis }) => folderMillis > Number(last));
  for (const statement of pending.flatMap(({ sql }) => sql)) {
    // A column without a value costs nothing, and an index may be of it.
    if (/^ALTER TABLE "\w+" ADD COLUMN IF NOT EXISTS "\w+" [\w ()]+;?$/.test(statement.trim())) await client.query(statement);
    const concurrently = statement.match(/^CREATE (?:UNIQUE )?INDEX IF NOT EXISTS .*/ms)?.[0].replace(' INDEX ', ' INDEX CONCURRENTLY ');
    if (concurrently === undefined) continue;
    await client.query(concurrently).catch((error: unknown) => {
      if (!isAbsent(error)) throw error;
    });
  }
}

/**
 * Checks the rows that were there before a constraint was (`NOT VALID` in its migration), beside whoever reads and writes: within the
 * migration all of them would wait until each row was looked at.
 */
export async function validateConstraints(client: { query(text: string): Promise<{ readonly rows: readonly unknown[] }> }): Promise<void> {
  const { rows } = await client.query(
    `select format('alter table %s validate constraint %I', conrelid::regclass, conname) as statement
    from pg_constraint where not convalidated and connamespace = 'public'::regnamespace order by conname`,
  );
  for (const { statement } of Statements.parse(rows)) await client.query(statement);
}

const Statements = z.array(z.object({ statement: z.string() }));

/** 42P01, 42703: no such table, no such column. */
function isAbsent(error: unknown): boolean {
  return /^(42P01|42703)$/.test(databaseRefusal(error)?.state ?? '');
}
