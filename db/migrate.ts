import { fileURLToPath } from 'node:url';
import type { PGlite } from '@electric-sql/pglite';
import { drizzle as drizzlePostgres } from 'drizzle-orm/node-postgres';
import { migrate as migrateOverPostgres } from 'drizzle-orm/node-postgres/migrator';
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite';
import { migrate as migrateOverPglite } from 'drizzle-orm/pglite/migrator';
import pg from 'pg';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { databaseRefusal } from './violation.ts';

/** Any number, the same in every version: servers that start at once wait for each other (drizzle's own migrate() takes no lock). */
const advisoryLock = 7_204_518;
const oldestMajor = 15;

const config = { migrationsFolder: fileURLToPath(new URL('./migrations', import.meta.url)) };

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
 * Brings the schema up to date, under a lock. Throws USAGE when the address is wrong, this PostgreSQL is too old, or its user
 * may not make the roles; the message says what an administrator has to run.
 */
export async function migratePostgres(databaseUrl: string): Promise<void> {
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
    await client.connect().catch((cause) => {
      // Wrong password, no such user, no such database: to try again does not help. The message has user and database, not the password.
      if (!(cause instanceof Error) || !/^(28...|3D000|42501)$/.test(databaseRefusal(cause)?.state ?? '')) throw cause;
      throw new ChainloopError('USAGE', `DATABASE_URL: PostgreSQL refuses the connection: ${cause.message}`, { cause });
    });
    const { rows } = await client.query<{ major: number; name: string }>(
      `select current_setting('server_version_num')::int / 10000 as major, current_user::text as name`,
    );
    const [server] = rows;
    if (server === undefined || server.major < oldestMajor) {
      throw new ChainloopError('USAGE', `database: PostgreSQL ${server?.major} is too old; version ${oldestMajor} or newer is needed`);
    }
    await client.query('select pg_advisory_lock($1)', [advisoryLock]);
    await client.query(roles).catch((cause) => {
      throw databaseRefusal(cause)?.state === '42501' ? rolesMissing(server.name, cause) : cause;
    });
    await migrateOverPostgres(drizzlePostgres({ client }), config);
  } finally {
    // Ends the session, and with it the lock, also when the connection is in an unknown state.
    await client.end().catch(() => {});
  }
}

/** Brings the schema up to date. The lock on the folder keeps others out; the user is always a superuser. */
export async function migratePglite(client: PGlite): Promise<void> {
  await client.exec(roles);
  await migrateOverPglite(drizzlePglite({ client }), config);
}

function rolesMissing(user: string, cause: unknown): ChainloopError {
  return new ChainloopError(
    'USAGE',
    `database: user '${user}' may not make its roles; let it (alter role "${user}" createrole), or run as an administrator: ` +
      `create role chainloop_app nologin; create role chainloop_system nologin; grant chainloop_app, chainloop_system to "${user}"`,
    { cause },
  );
}
