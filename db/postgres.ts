import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { SQL } from 'drizzle-orm';
import { drizzle, NodePgDatabase, NodePgSession } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Driver, Identity, Tx } from './client.ts';
import { listen } from './listen.ts';
import { migratePostgres } from './migrate.ts';
import { alone, dialect, flush, type Manner, nameOf, prepareAlone, written } from './statement.ts';
import { databaseRefusal } from './violation.ts';

/** As pg reads them, and times in half of that: of a page of runs it is 15 µs. A time that JavaScript cannot read is left to pg. */
const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    const reader = format === 'binary' ? pg.types.getTypeParser(oid, format) : pg.types.getTypeParser(oid, 'text');
    if (oid !== pg.types.builtins.TIMESTAMPTZ || format === 'binary') return reader;
    return (text: string) => {
      const time = new Date(text);
      return Number.isNaN(time.getTime()) ? reader(text) : time;
    };
  },
};

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

/** Statements and transactions on the connections of a pool, which are in pipeline mode. */
export function driverOf(pool: pg.Pool): Omit<Driver, 'kind' | 'signal' | 'listen' | 'close'> {
  // A connection can be lost while idle (the pool drops it) or in use (its query fails): without listeners either ends the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => {
    client.on('error', () => {});
    prepareAlone(client);
  });
  const databases = new WeakMap<pg.PoolClient, Tx>();
  const database = (client: pg.PoolClient): Tx => {
    const known = databases.get(client) ?? drizzle({ client: querying(client, prepared(client)), casing: 'snake_case' });
    databases.set(client, known);
    return known;
  };

  /** One statement, on any connection. What only reads is tried again where a transaction would be. */
  async function single(identity: Identity, manner: Manner, config: pg.QueryConfig): Promise<pg.QueryResult> {
    for (let attempt = 1; ; attempt += 1) {
      const client = await reach(() => pool.connect());
      try {
        const result = await alone(client, identity, manner, config);
        client.release();
        return result;
      } catch (error) {
        client.release(isLost(error));
        if (!manner.readOnly || attempt === limits.attempts || !(isTransient(error) || isLost(error))) throw error;
      }
    }
  }

  return {
    async read(identity, { inOrder = false }, fn) {
      let asked = false;
      const query = (config: pg.QueryConfig, values: unknown[]) => {
        if (asked) throw new Error('read: one statement only; for several that belong together use run');
        asked = true;
        return single(identity, { readOnly: true, inOrder, anyValues: false }, { ...config, name: nameOf(config.text), values });
      };
      try {
        return await fn(new NodePgDatabase(dialect, new NodePgSession(querying(pool, query), dialect, undefined), undefined));
      } catch (error) {
        throw reported(error);
      }
    },
    async transaction(identity, fn) {
      for (let attempt = 1; ; attempt += 1) {
        let committing = false;
        let begun: Promise<unknown> = Promise.resolve();
        const client = await reach(() => pool.connect());
        try {
          // Not awaited: it goes out with the first query of `fn`. If it fails, so does every query after it, since the transaction
          // has begun by then.
          begun = client.query(`begin; ${become(identity)}; ${act(identity)}`);
          begun.catch(() => {});
          const result = await fn(database(client));
          await begun;
          committing = true;
          await Promise.all([client.query('commit'), client.query(flush)]);
          client.release();
          return result;
        } catch (failure) {
          // If the transaction could not begin, that is why its queries failed.
          const error = await begun.then(
            () => failure,
            (first) => first,
          );
          await abandon(client, error);
          // What fails at the commit has not happened when PostgreSQL says so: two chains of the audit log may wait for each other there.
          if (attempt === limits.attempts || !(isTransient(error) || (!committing && isLost(error)))) throw reported(error);
        }
      }
    },
    async rows(identity, { inOrder = false }, query) {
      const { name, text, values } = query instanceof SQL ? written(query) : query;
      try {
        return (await single(identity, { readOnly: true, inOrder, anyValues: true }, { name, text, values: [...values], types })).rows;
      } catch (error) {
        throw reported(error);
      }
    },
    async statement(identity, name, query) {
      const { sql: text, params: values } = dialect.sqlToQuery(query);
      try {
        return (await single(identity, { readOnly: false, inOrder: false, anyValues: false }, { name, text, values })).rows;
      } catch (error) {
        throw reported(error);
      }
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

/** The client or pool with another way to query. */
function querying<Client extends pg.Pool | pg.PoolClient>(
  client: Client,
  query: (config: pg.QueryConfig, values: unknown[]) => Promise<pg.QueryResult>,
): Client {
  return new Proxy(client, { get: (target, property) => (property === 'query' ? query : Reflect.get(target, property)) });
}

/** Queries with every statement of drizzle's under a name: for a page of runs that is half of the time. */
function prepared(client: pg.PoolClient) {
  return (config: pg.QueryConfig, values: unknown[]) => client.query({ ...config, name: nameOf(config.text) }, values);
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

/** The connection is gone, or never was, or is not as it was made: there is no SQLSTATE, or one that says so (57P0x, 08xxx, 53300, 26000). */
function isLost(error: unknown): boolean {
  if (error instanceof ChainloopError) return false;
  const refusal = databaseRefusal(error);
  return refusal === undefined ? isNetwork(error) : /^(57P0[1-4]|08...|53300|26000)$/.test(refusal.state);
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
  return `set local app.actor = ${pg.escapeLiteral(JSON.stringify(actor))}; set local app.flushes = 'yes'`;
}
