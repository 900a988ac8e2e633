import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { lockFolder } from './folder-lock.ts';
import { connectOnce, migratePglite, migratePostgres } from './migrate.ts';
import { session, socketsTo } from './pglite.ts';
import { reachAs } from './postgres.ts';

/** One connection, as the user of the database. Beneath the scopes of db/client.ts: for backups alone. */
export type Session = {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: Readonly<Record<string, unknown>>[] }>;
};

export type OpenSession = Session & {
  readonly kind: 'postgresql' | 'pglite';
  /** Brings an empty database to the first `count` migrations. */
  migrate(count: number): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A database that no server of this process has open: PostgreSQL by its address, or the folder of PGlite. */
export type Place = { readonly databaseUrl: string } | { readonly folder: string };

/**
 * Opens a database as it is, without bringing its schema up to date. A folder is made only where `make` says so: NOT_FOUND. CONFLICT when
 * another process has it, CONTROL_PLANE_UNREACHABLE when PostgreSQL does not answer.
 */
export async function openSession(place: Place, { make = false } = {}): Promise<OpenSession> {
  await using cleanup = new AsyncDisposableStack();
  let client: pg.Client;
  let migrate: OpenSession['migrate'];
  if ('databaseUrl' in place) {
    const { databaseUrl } = place;
    client = await reachAs(databaseUrl, async () => {
      const connecting = new pg.Client({
        connectionString: databaseUrl,
        application_name: 'chainloop backup',
        connectionTimeoutMillis: limits.databaseConnectTimeoutMs,
        keepAlive: true,
      });
      connecting.on('error', () => {});
      await connectOnce(connecting);
      return connecting;
    });
    migrate = (count) => migratePostgres(databaseUrl, count);
  } else {
    const { folder } = place;
    if (!make) {
      await access(join(folder, 'PG_VERSION')).catch((cause) => {
        throw new ChainloopError('NOT_FOUND', `${folder}: there is no database; say where with --data-dir, or set DATABASE_URL`, { cause });
      });
    }
    const lock = await lockFolder(folder);
    cleanup.defer(() => lock.release());
    const database = await PGlite.create({ dataDir: folder });
    cleanup.defer(() => database.close());
    client = new pg.Client({ ...session, stream: socketsTo(database) });
    client.on('error', () => {});
    await client.connect();
    migrate = (count) => migratePglite(database, count);
  }
  cleanup.defer(() => client.end());
  const open = cleanup.move();
  return {
    kind: 'databaseUrl' in place ? 'postgresql' : 'pglite',
    query: (text, values) => client.query(text, values),
    migrate,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
