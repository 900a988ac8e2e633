import type { SQL } from 'drizzle-orm';
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';
import * as z from 'zod';
import type { AuditActor } from '../core/audit.ts';
import { ChainloopError } from '../core/errors.ts';
import { dump } from './dump.ts';
import { openPglite } from './pglite.ts';
import { openPostgres } from './postgres.ts';
import type { Session } from './session.ts';
import type { Statement } from './statement.ts';
import { databaseRefusal } from './violation.ts';

type RowsOf<Row> = { readonly rows: Row[] };
interface Rows extends PgQueryResultHKT {
  readonly type: RowsOf<this['row']>;
}

/** A transaction, on either database. */
export type Tx = PgDatabase<Rows>;

/**
 * Who a transaction is: its role and, for a request, its organization. Row-level security shows it nothing else, so a forgotten
 * WHERE returns nothing instead of another organization's rows. What it changes is in the audit log as done by `actor`.
 */
export type Identity = { readonly actor: AuditActor } & (
  | { readonly role: 'chainloop_app'; readonly organizationId: string }
  | { readonly role: 'chainloop_system' }
);

export type ReadOptions = {
  /**
   * The rows come in the order of an index: for lists. A prepared statement is planned for the average: where a workflow has a hundred runs
   * on average, PostgreSQL would collect all of one (a bitmap, or the whole table) and sort them, also of the one that has a million.
   */
  readonly inOrder?: boolean;
};

type Scope = {
  /**
   * One transaction. `fn` may be run again, when the database was lost before the commit was sent or chose this transaction as the
   * victim of a deadlock: it must do nothing but query. Throws CONTROL_PLANE_UNREACHABLE when the database is lost.
   */
  run<T>(fn: (tx: Tx) => Promise<T>): Promise<T>;
  /**
   * One statement that only reads, in one round trip; `fn` sends it. Several that have to see the same are for `run`: the second is
   * refused. Throws CONTROL_PLANE_UNREACHABLE when the database is lost.
   */
  read<T>(fn: (tx: Tx) => PromiseLike<T>, options?: ReadOptions): Promise<T>;
  /**
   * As `read`, of a statement in SQL: for what is asked often, since drizzle takes longer to write a list and to read its rows than PostgreSQL
   * to find them. What comes back is as the driver has it, by the names that the statement gives. PostgreSQL plans it for any values, so no
   * value may say which condition counts.
   */
  rows<T extends Record<string, unknown>>(query: SQL | Statement, options?: ReadOptions): Promise<T[]>;
  /**
   * One statement in its own transaction, in one round trip, prepared under `name`. Select text, numbers and booleans only: what
   * comes back is as the driver has it. Never repeated: CONTROL_PLANE_UNREACHABLE leaves open whether it happened.
   */
  statement<T extends Record<string, unknown>>(name: string, query: SQL): Promise<T[]>;
};

/** The rows of one organization. The first parameter of every query. */
export type OrgScope = Scope & { readonly organizationId: string };

/** For the few queries that are not of one organization: tokens by hash, organizations, expiry, metrics, settings. */
export type SystemScope = Scope & { readonly system: true };

/** A database of either kind, with its schema up to date. */
export type Database = {
  readonly kind: 'postgresql' | 'pglite';
  /** What `actor` does in an organization. Throws when the id is no UUID: ids come from the database, so that is a bug. */
  scope(organizationId: string, actor: AuditActor): OrgScope;
  /** What the control plane does by itself. */
  readonly system: SystemScope;
  /** As `system`, for what somebody asked for. */
  systemAs(actor: AuditActor): SystemScope;
  /** Every row of every table as it is at this moment, for a backup: `dump` in db/dump.ts. PGlite does nothing else meanwhile. */
  dump<T>(consume: (lines: AsyncIterable<string>) => Promise<T>): Promise<T>;
  /** One round trip. Throws CONTROL_PLANE_UNREACHABLE. */
  ping(): Promise<void>;
  /** Tells the servers that listen on this channel, and not this process. Nothing is kept of it: who is not there hears nothing. */
  signal(channel: Channel): Promise<void>;
  /** Calls back for each signal, and whenever some may have been missed, until the answer is called. PGlite has one process: silence. */
  listen(channel: Channel, onSignal: () => void): () => Promise<void>;
  /** Lets what runs finish. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** What servers on one database tell each other. */
export type Channel = 'chainloop_outbox';

/** What each kind of database implements; the contracts are those of `Scope` and `Database`. */
export type Driver = {
  readonly kind: Database['kind'];
  transaction<T>(identity: Identity, fn: (tx: Tx) => Promise<T>): Promise<T>;
  read<T>(identity: Identity, options: ReadOptions, fn: (tx: Tx) => PromiseLike<T>): Promise<T>;
  rows<T extends Record<string, unknown>>(identity: Identity, options: ReadOptions, query: SQL | Statement): Promise<T[]>;
  statement<T extends Record<string, unknown>>(identity: Identity, name: string, query: SQL): Promise<T[]>;
  /** One connection for nobody else, as the user of the database. Never repeated. What `fn` leaves open is rolled back when it fails. */
  session<T>(fn: (session: Session) => Promise<T>): Promise<T>;
  ping(): Promise<void>;
  signal(channel: Channel): Promise<void>;
  listen(channel: Channel, onSignal: () => void): () => Promise<void>;
  close(): Promise<void>;
};

export type DatabaseOptions = {
  /** PostgreSQL 15 or newer. */
  readonly databaseUrl?: string | undefined;
  /** Connections to it. Default: limits.databaseConnections. */
  readonly connections?: number | undefined;
  /** PGlite in this folder, which no other process may have open. */
  readonly dataDir?: string | undefined;
  /** PGlite in memory, optionally from a dump of its data directory: a new one takes seconds. */
  readonly memory?: boolean | Blob | undefined;
};

/**
 * Opens the database and brings its schema up to date. Throws USAGE for a database that cannot be used as it is (the message says
 * what to change), CONFLICT when another process holds the folder, CONTROL_PLANE_UNREACHABLE when PostgreSQL does not answer.
 */
export async function connect(options: DatabaseOptions): Promise<Database> {
  const driver = await open(options);
  const scope = (identity: Identity): Scope => ({
    run: (fn) => storable(driver.transaction(identity, fn)),
    read: (fn, options = {}) => storable(driver.read(identity, options, fn)),
    rows: (query, options = {}) => storable(driver.rows(identity, options, query)),
    statement: (name, query) => storable(driver.statement(identity, name, query)),
  });
  const systemAs = (actor: AuditActor): SystemScope => ({ system: true, ...scope({ role: 'chainloop_system', actor }) });
  return {
    kind: driver.kind,
    scope: (organizationId, actor) => ({
      organizationId,
      ...scope({ role: 'chainloop_app', organizationId: z.uuid().parse(organizationId), actor }),
    }),
    system: systemAs({ kind: 'system', id: null, name: 'server' }),
    systemAs,
    dump: (consume) => driver.session((session) => consume(dump(session, driver.kind))),
    ping: driver.ping,
    signal: driver.signal,
    listen: driver.listen,
    close: driver.close,
    [Symbol.asyncDispose]: driver.close,
  };
}

/** What every query may meet, as errors of ours: text with NUL in it, which PostgreSQL cannot keep, and a full disk. */
async function storable<T>(query: Promise<T>): Promise<T> {
  try {
    return await query;
  } catch (cause) {
    const state = databaseRefusal(cause)?.state;
    if (state === '22021' || state === '22P05') {
      throw new ChainloopError('USAGE', 'text: contains a NUL character, which cannot be kept; remove it', { cause });
    }
    if (state === '53100') throw new ChainloopError('DISK_FULL', 'database: no space left; make room, then try again', { cause });
    throw cause;
  }
}

function open({ databaseUrl, connections, dataDir, memory }: DatabaseOptions): Promise<Driver> {
  if (databaseUrl !== undefined) return openPostgres(databaseUrl, connections);
  if (dataDir !== undefined) return openPglite({ dataDir });
  if (memory !== undefined && memory !== false) return openPglite({ snapshot: memory === true ? undefined : memory });
  throw new ChainloopError('USAGE', 'database: none given; set DATABASE_URL, or give a data directory');
}
