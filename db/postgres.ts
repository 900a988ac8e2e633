import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { drizzle } from 'drizzle-orm/node-postgres';
import { PgDialect } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Driver, Identity, Tx } from './client.ts';
import { listen } from './listen.ts';
import { migratePostgres } from './migrate.ts';
import { databaseRefusal } from './violation.ts';

const dialect = new PgDialect({ casing: 'snake_case' });

/**
 * A pool of connections to PostgreSQL, each in pipeline mode: statements are sent without waiting for the answer to the one before,
 * so that BEGIN costs no round trip of its own. A connection that is lost never ends the process.
 */
export async function openPostgres(databaseUrl: string, connections: number = limits.databaseConnections): Promise<Driver> {
  const config = {
    connectionString: databaseUrl,
    application_name: 'chainloop',
    connectionTimeoutMillis: limits.databaseConnectTimeoutMs,
    statement_timeout: limits.databaseStatementTimeoutMs,
    // Longer than the server's own limit: this one is for a server that is gone without a word.
    query_timeout: limits.databaseStatementTimeoutMs + 5_000,
    keepAlive: true,
  };
  await reachAs(databaseUrl, () => migratePostgres(databaseUrl));
  /** In each signal, so that a process does not wake itself. */
  const self = randomUUID();
  const pool = new pg.Pool({ ...config, pipeline: true, max: connections });
  // A connection can be lost while idle (the pool drops it) or in use (its query fails): without listeners either ends the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return {
    kind: 'postgresql',
    ...driverOf(pool),
    async signal(channel) {
      await reach(() => pool.query('select pg_notify($1, $2)', [channel, self]), 1);
    },
    listen: (channel, onSignal) => listen(config, channel, (from) => from !== self && onSignal()),
    close: () => pool.end(),
  };
}

/** Transactions on the connections of a pool, which are in pipeline mode. */
export function driverOf(pool: pg.Pool): Omit<Driver, 'kind' | 'signal' | 'listen' | 'close'> {
  const databases = new WeakMap<pg.PoolClient, Tx>();
  const database = (client: pg.PoolClient): Tx => {
    const known = databases.get(client) ?? drizzle({ client: preparing(client), casing: 'snake_case' });
    databases.set(client, known);
    return known;
  };

  return {
    async transaction(identity, mode, fn) {
      for (let attempt = 1; ; attempt += 1) {
        let committing = false;
        let begun: Promise<unknown> = Promise.resolve();
        const client = await reach(() => pool.connect());
        try {
          // Not awaited: it goes out with the first query of `fn`. If it fails, so does every query after it, since the transaction
          // has begun by then.
          begun = client.query(mode === 'read' ? `begin read only; ${become(identity)}` : `begin; ${become(identity)}; ${act(identity)}`);
          begun.catch(() => {});
          const result = await fn(database(client));
          await begun;
          committing = true;
          const committed = client.query('commit');
          if (mode === 'read') {
            committed.then(
              () => client.release(),
              () => client.release(true),
            );
            return result;
          }
          await committed;
          client.release();
          return result;
        } catch (failure) {
          // If the transaction could not begin, that is why its queries failed.
          const error = await begun.then(
            () => failure,
            (first) => first,
          );
          await abandon(client, error);
          if (committing || attempt === limits.attempts || !(isTransient(error) || isLost(error))) throw reported(error);
        }
      }
    },
    async statement(identity, name, query) {
      const { sql: text, params } = dialect.sqlToQuery(query);
      const client = await reach(() => pool.connect());
      const [begun, answered, committed] = await Promise.allSettled([
        client.query(`begin; ${become(identity)}; ${act(identity)}`),
        client.query({ name, text, values: params }),
        client.query('commit'),
      ]);
      const failed = [begun, answered, committed].find((outcome) => outcome.status === 'rejected');
      client.release(failed !== undefined && isLost(failed.reason));
      if (answered.status === 'rejected' || failed !== undefined) throw reported(failed?.reason);
      return answered.value.rows;
    },
    async session(fn) {
      const client = await reach(() => pool.connect());
      try {
        const result = await fn(client);
        client.release();
        return result;
      } catch (error) {
        await abandon(client, error);
        throw reported(error);
      }
    },
    async ping() {
      await reach(() => pool.query('select 1'), 1);
    },
  };
}

/** Names of prepared statements by their text. Bounded, in case a text is ever made of data. */
const names = new Map<string, string>();

/**
 * The client with every statement of drizzle's prepared under a name, so that PostgreSQL parses and plans it once per connection:
 * for a page of runs that is half of the time.
 */
function preparing(client: pg.PoolClient): pg.PoolClient {
  return new Proxy(client, {
    get(target, property) {
      if (property !== 'query') return Reflect.get(target, property);
      return (config: pg.QueryConfig, values: unknown[]) => {
        const name = names.get(config.text) ?? createHash('sha256').update(config.text).digest('base64');
        if (names.size < 1000) names.set(config.text, name);
        return target.query(names.has(config.text) ? { ...config, name } : config, values);
      };
    },
  });
}

/** Ends a transaction that failed, so that its connection can be used again, or closes the connection. */
async function abandon(client: pg.PoolClient, error: unknown): Promise<void> {
  if (isLost(error)) return client.release(true);
  await client.query('rollback').then(
    () => client.release(),
    () => client.release(true),
  );
}

/** As `reach`, in the words for who says where the database is; who calls a server may not know. */
export async function reachAs<T>(databaseUrl: string, attempt: () => Promise<T>): Promise<T> {
  return reach(attempt).catch((cause) => {
    if (!isChainloopError(cause, 'CONTROL_PLANE_UNREACHABLE')) throw cause;
    throw new ChainloopError(
      cause.code,
      `database: ${hostOf(databaseUrl)} does not answer; check DATABASE_URL, and that PostgreSQL runs there`,
      { cause },
    );
  });
}

/** Tries until it works or the time to connect is over: a PostgreSQL that restarts is back in a second. */
async function reach<T>(attempt: () => Promise<T>, attempts = Number.POSITIVE_INFINITY): Promise<T> {
  const deadline = performance.now() + limits.databaseConnectTimeoutMs;
  for (let count = 1; ; count += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!isLost(error) || count >= attempts || performance.now() > deadline) throw reported(error);
      await sleep(25 + 75 * Math.random());
    }
  }
}

/** The connection is gone, or never was: there is no SQLSTATE, or one that ends the session (57P0x, 08xxx, 53300). */
function isLost(error: unknown): boolean {
  if (error instanceof ChainloopError) return false;
  const refusal = databaseRefusal(error);
  return refusal === undefined ? isNetwork(error) : /^(57P0[1-4]|08...|53300)$/.test(refusal.state);
}

/** What Node and pg say, in no common form, when a connection fails. */
function isNetwork(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (inner instanceof AggregateError && inner.errors.some(isNetwork)) return true;
    if ('code' in inner && typeof inner.code === 'string' && /^E(?!RR_)[A-Z]{4,}$/.test(inner.code)) return true;
    if (
      /^(Connection terminated|timeout exceeded|timeout expired|Client (was closed|has encountered)|Query read timeout)/.test(inner.message)
    )
      return true;
  }
  return false;
}

/** Rolled back by PostgreSQL and right the next time: serialization failure, deadlock. */
function isTransient(error: unknown): boolean {
  const state = databaseRefusal(error)?.state;
  return state === '40001' || state === '40P01';
}

/** The error for the caller: a lost database is temporary, and which one it was stays in the cause. */
function reported(error: unknown): unknown {
  const tooSlow = databaseRefusal(error)?.state === '57014';
  if (!isLost(error) && !isTransient(error) && !tooSlow) return error;
  return new ChainloopError('CONTROL_PLANE_UNREACHABLE', 'control plane: its database does not answer; try again in a moment', {
    cause: error,
  });
}

function hostOf(databaseUrl: string): string {
  return URL.parse(databaseUrl)?.host || 'the database';
}

/** The id was checked to be a UUID when the scope was made. */
function become(identity: Identity): string {
  const organization = identity.role === 'chainloop_app' ? identity.organizationId : '';
  return `set local role ${identity.role}; set local app.organization = '${organization}'`;
}

/** Who does what is written from here on: the audit log takes it from this setting. Names are of anybody's making, so they are quoted. */
function act({ actor }: Identity): string {
  return `set local app.actor = ${pg.escapeLiteral(JSON.stringify(actor))}`;
}
