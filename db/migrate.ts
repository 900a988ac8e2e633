import { cp, mkdir, mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { PGlite } from '@electric-sql/pglite';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { drizzle as drizzlePostgres } from 'drizzle-orm/node-postgres';
import { migrate as migrateOverPostgres } from 'drizzle-orm/node-postgres/migrator';
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite';
import { migrate as migrateOverPglite } from 'drizzle-orm/pglite/migrator';
import pg from 'pg';
import * as z from 'zod';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { prebuildIndexes, validateConstraints } from './prebuild.ts';
import { databaseRefusal } from './violation.ts';

/** Any number, the same in every version: servers that start at once wait for each other (drizzle's own migrate() takes no lock). */
const advisoryLock = 7_204_518;
const oldestMajor = 15;

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));

/** The digests of the migrations that this version knows, in their order: how drizzle names them in the database. */
export function knownMigrations(): readonly string[] {
  return readMigrationFiles({ migrationsFolder }).map(({ hash }) => hash);
}

const Journal = z.looseObject({ entries: z.array(z.looseObject({ tag: z.string() })) });

/** A folder with the first migrations alone, for a database that is to be as an older version left it. */
async function firstMigrations(count: number) {
  const folder = await mkdtempDisposable(join(tmpdir(), 'chainloop-migrations-'));
  const journal = Journal.parse(JSON.parse(await readFile(join(migrationsFolder, 'meta', '_journal.json'), 'utf8')));
  const entries = journal.entries.slice(0, count);
  await mkdir(join(folder.path, 'meta'));
  await writeFile(join(folder.path, 'meta', '_journal.json'), JSON.stringify({ ...journal, entries }));
  for (const { tag } of entries) await cp(join(migrationsFolder, `${tag}.sql`), join(folder.path, `${tag}.sql`));
  return folder;
}

/** `fn` with the folder of the first `count` migrations: of all, where it is undefined. */
async function withMigrations(count: number | undefined, fn: (config: { migrationsFolder: string }) => Promise<unknown>): Promise<void> {
  if (count === undefined) {
    await fn({ migrationsFolder });
    return;
  }
  await using folder = await firstMigrations(count);
  await fn({ migrationsFolder: folder.path });
}

/**
 * The two roles of schema.ts. Roles are of the whole PostgreSQL, not of one database, so they may be there: from another database,
 * or made by an administrator for a user who may not. Two databases at once: the one that comes second finds them made.
 */
const roles = `do $$
declare name text;
begin
  foreach name in array array['chainloop_app', 'chainloop_system'] loop
    if not exists (select from pg_roles where rolname = name) then
      begin
        execute format('create role %I nologin', name);
      exception when duplicate_object or unique_violation then null;
      end;
    end if;
    -- Since version 16 to be a member is not to be allowed to become it.
    if not pg_has_role(current_user, name, case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end) then
      execute format('grant %I to %I', name, current_user);
    end if;
  end loop;
end $$`;

/**
 * Brings the schema up to date, or to the first `count` migrations, under a lock. Throws USAGE when the address is wrong, this PostgreSQL is too old, or its user
 * may not make the roles; the message says what an administrator has to run.
 */
export async function migratePostgres(databaseUrl: string, count?: number): Promise<void> {
  if (!/^postgres(ql)?:\/\//.test(databaseUrl) || !URL.canParse(databaseUrl)) {
    throw new ChainloopError('USAGE', 'DATABASE_URL: not a PostgreSQL address; it looks like postgres://user:password@host:5432/database');
  }
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'chainloop migrate',
    connectionTimeoutMillis: limits.databaseConnectTimeoutMs,
  });
  client.on('error', () => {});
  try {
    await connectOnce(client);
    const { rows } = await client.query<{ major: number; name: string }>(
      `select current_setting('server_version_num')::int / 10000 as major, current_user::text as name`,
    );
    const [server] = rows;
    if (server === undefined || server.major < oldestMajor) {
      throw new ChainloopError('USAGE', `database: PostgreSQL ${server?.major} is too old; version ${oldestMajor} or newer is needed`);
    }
    await lock(client);
    await client.query(roles).catch((cause) => {
      throw databaseRefusal(cause)?.state === '42501' ? rolesMissing(server.name, cause) : cause;
    });
    await withMigrations(count, async (config) => {
      await prebuildIndexes(client, config.migrationsFolder);
      await migrateOverPostgres(drizzlePostgres({ client }), config);
    });
    await validateConstraints(client);
  } finally {
    // Ends the session, and with it the lock, also when the connection is in an unknown state.
    await client.end().catch(() => {});
  }
}

/** USAGE for a wrong password, no such user, no such database: to try again does not help. The message has user and database, not the password. */
export async function connectOnce(client: pg.Client): Promise<void> {
  await client.connect().catch((cause) => {
    if (!(cause instanceof Error) || !/^(28...|3D000|42501)$/.test(databaseRefusal(cause)?.state ?? '')) throw cause;
    throw new ChainloopError('USAGE', `DATABASE_URL: PostgreSQL refuses the connection: ${cause.message}`, { cause });
  });
}

/** Asks again and again instead of waiting in one query: building an index beside writers waits for every query that has begun. */
async function lock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [advisoryLock]);
    if (rows[0]?.taken === true) return;
    await sleep(100);
  }
}

/** Brings the schema up to date, or to the first `count` migrations. The lock on the folder keeps others out; the user is always a superuser. */
export async function migratePglite(client: PGlite, count?: number): Promise<void> {
  await client.exec(roles);
  await withMigrations(count, (config) => migrateOverPglite(drizzlePglite({ client }), config));
  await validateConstraints(client);
}

function rolesMissing(user: string, cause: unknown): ChainloopError {
  return new ChainloopError(
    'USAGE',
    `database: user '${user}' may not make its roles; let it (alter role "${user}" createrole), or run as an administrator: ` +
      `create role chainloop_app nologin; create role chainloop_system nologin; grant chainloop_app, chainloop_system to "${user}"`,
    { cause },
  );
}
