import { PGlite } from '@electric-sql/pglite';
import { type SQL, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/pglite';
import type { Driver, Identity, Tx } from './client.ts';
import { lockFolder } from './folder-lock.ts';
import { migratePglite } from './migrate.ts';

/** PGlite has one connection: transactions run one after the other. Its process is ours, so it is never unreachable. */
export async function openPglite(options: { readonly dataDir?: string; readonly snapshot?: Blob | undefined }): Promise<Driver> {
  await using cleanup = new AsyncDisposableStack();
  const lock = options.dataDir === undefined ? undefined : await lockFolder(options.dataDir);
  cleanup.defer(() => lock?.release());
  const client = await PGlite.create({
    ...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
    ...(options.snapshot === undefined ? {} : { loadDataDir: options.snapshot }),
  });
  cleanup.defer(() => client.close());
  await migratePglite(client);
  const open = cleanup.move();
  const db = drizzle({ client, casing: 'snake_case' });
  const transaction = <T>(identity: Identity, mode: 'write' | 'read', fn: (tx: Tx) => Promise<T>): Promise<T> =>
    db.transaction(
      async (tx) => {
        await tx.execute(become(identity));
        return fn(tx);
      },
      { accessMode: mode === 'read' ? 'read only' : 'read write' },
    );
  return {
    kind: 'pglite',
    transaction,
    statement: <T extends Record<string, unknown>>(identity: Identity, _name: string, query: SQL) =>
      transaction(identity, 'write', async (tx) => (await tx.execute<T>(query)).rows),
    ping: async () => {
      await client.query('select 1');
    },
    close: () => open.disposeAsync(),
  };
}

/** One call instead of two: set_config is SET LOCAL as a function. */
function become(identity: Identity): SQL {
  const organization = identity.role === 'chainloop_app' ? identity.organizationId : '';
  return sql`select set_config('role', ${identity.role}, true), set_config('app.organization', ${organization}, true)`;
}
