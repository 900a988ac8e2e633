import { createHash } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { limits } from '../core/limits.ts';
import type { Database } from './client.ts';

/** Any number: the first half of our keys, so that they are nobody else's. */
const lockClass = 7_204_519;

/**
 * Runs work while no other server of this database does under the same key. The lock is a transaction's: a server that is killed gives it up at once.
 * Each takes a connection, so only a few are held at a time; the others of this server wait. Work may be run again when the connection is lost:
 * it has to bear that. PGlite has one server. CONTROL_PLANE_UNREACHABLE when another holds the lock for too long.
 */
export type Locks = { exclusively<T>(key: string, work: () => Promise<T>): Promise<T> };

export function createLocks(database: Database): Locks {
  const waiting: (() => void)[] = [];
  let held = 0;
  return {
    async exclusively(key, work) {
      if (database.kind === 'pglite') return work();
      if (held >= limits.databaseLocks) await new Promise<void>((resolve) => waiting.push(resolve));
      else held++;
      try {
        return await database.system.run(async (tx) => {
          await tx.execute(sql`select pg_advisory_xact_lock(${lockClass}, ${createHash('sha256').update(key).digest().readInt32BE()})`);
          return work();
        });
      } finally {
        const next = waiting.shift();
        if (next === undefined) held--;
        else next();
      }
    },
  };
}
