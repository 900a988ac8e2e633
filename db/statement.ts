import { createHash } from 'node:crypto';
import { is, Placeholder, type SQL, sql } from 'drizzle-orm';
import { PgDialect } from 'drizzle-orm/pg-core';
import pg from 'pg';
import type { Identity, OrgScope } from './client.ts';
import { type Page, placeOf, rowsWanted, sizeWanted } from './page.ts';

/** What a single statement runs with, beside its identity. */
export type Manner = {
  /** PostgreSQL refuses it when it would write. */
  readonly readOnly: boolean;
  /** Rows come in the order of an index: no plan collects all of them (a bitmap, a table) to sort them. */
  readonly inOrder: boolean;
  /** Planned once per connection, for any values, and not at each call for those given: planning takes longer than a page. */
  readonly anyValues: boolean;
};

/**
 * Sent before each single statement, and in the same transaction: what it sets is gone with it, so a connection remembers nobody, and what
 * comes to it next finds no organization. It gives no row.
 */
const become = {
  name: 'become',
  text: `select where num_nulls(set_config('role', $1, true), set_config('app.organization', $2, true), set_config('app.actor', $3, true),
    set_config('app.flushes', 'yes', true), set_config('transaction_read_only', $4, true), set_config('enable_bitmapscan', $5, true),
    set_config('enable_seqscan', $5, true), set_config('plan_cache_mode', $6, true)) < 0`,
};

/**
 * Sent behind what writes, which is answered when both are. A transaction with a row in the audit log holds the end of its organization's
 * chain, for which all others wait: it commits without waiting for the disk (audit_append), and the commit of this message to nobody waits
 * for all that lies before it. So those who wait are flushed together, as they were without a chain.
 */
export const flush = {
  name: 'flush',
  text: `select pg_logical_emit_message(true, 'chainloop', ''), set_config('app.unflushed', '', false) where current_setting('app.unflushed', true) = 'yes'`,
};

/**
 * Makes a new connection ready for `alone`. Where it does not come about, or is forgotten, PostgreSQL refuses what follows it: "prepared
 * statement does not exist", SQLSTATE 26000.
 */
export function prepareAlone(client: pg.ClientBase): void {
  client.query({ ...become, values: ['none', '', '', 'on', 'on', 'auto'] }).catch(() => {});
}

/**
 * One statement in a transaction of its own, in one round trip: the messages of `become` and of the statement, and one Sync for both, which
 * is what PostgreSQL takes for a transaction (Frontend/Backend Protocol, "Extended Query", "Pipelining"). Throws what pg throws.
 */
export function alone(
  client: pg.ClientBase,
  identity: Identity,
  { readOnly, inOrder, anyValues }: Manner,
  config: pg.QueryConfig,
): Promise<pg.QueryResult> {
  const organization = identity.role === 'chainloop_app' ? identity.organizationId : '';
  const actor = readOnly ? '' : JSON.stringify(identity.actor);
  const plan = anyValues ? 'force_generic_plan' : 'auto';
  const values = [identity.role, organization, actor, readOnly ? 'on' : 'off', inOrder ? 'off' : 'on', plan];
  const answered = new Promise<pg.QueryResult>((resolve, reject) => {
    const query = new pg.Query(config, (error, ...results) => {
      const [result] = results.flat().slice(-1);
      if (error != null || result === undefined) return reject(error);
      resolve(result);
    });
    const { submit } = query;
    const both = {
      // Never as a simple query, which would be a transaction of another kind.
      queryMode: 'extended',
      submit(connection: pg.Connection): unknown {
        connection.stream.cork();
        connection.bind({ statement: become.name, values }, true);
        connection.execute({}, true);
        const refused: unknown = submit.call(query, connection);
        // Then no Sync follows, and `become` would be heard together with what comes next.
        if (refused instanceof Error) connection.stream.destroy();
        else connection.stream.uncork();
        return refused;
      },
    };
    client.query(Object.assign(query, both));
  });
  return readOnly ? answered : Promise.all([answered, client.query(flush)]).then(([result]) => result);
}

/** Names of prepared statements by their text. Bounded, in case a text is ever made of data. */
const names = new Map<string, string>();

/** Under which a statement is prepared, so that PostgreSQL parses and plans it once per connection; or undefined, when there are too many. */
export function nameOf(text: string): string | undefined {
  const known = names.get(text);
  if (known !== undefined || names.size >= 1000) return known;
  const name = createHash('sha256').update(text).digest('base64');
  names.set(text, name);
  return name;
}

/** A statement as it is sent. */
export type Statement = { readonly name: string | undefined; readonly text: string; readonly values: readonly unknown[] };

/** What a list is asked for, or where it goes in the text of a statement. What is undefined does not narrow the list. */
export type Asked<Value> = {
  readonly [Name in
    | 'workflowId'
    | 'project'
    | 'contractName'
    | 'contractDigest'
    | 'state'
    | 'runner'
    | 'commit'
    | 'since'
    | 'until'
    | 'digest'
    | 'at'
    | 'id']?: Value | undefined;
};

export const dialect = new PgDialect({ casing: 'snake_case' });
const kept = new Map<string, Statement>();

/** The statement of a query. */
export function written(query: SQL): Statement {
  const { sql: text, params: values } = dialect.sqlToQuery(query);
  return { name: nameOf(text), text, values };
}

/**
 * The statement of a list, whose text depends on `list` and on what is asked for, and not on its values: it is written once for each, since
 * to write a page of runs takes drizzle a tenth of what the whole page takes. Throws USAGE for a cursor that no list gave.
 */
export function statementOf(
  list: string,
  { organizationId }: Pick<OrgScope, 'organizationId'>,
  asked: Asked<string> & Page,
  write: (organizationId: Placeholder, asked: Asked<Placeholder>, few: SQL) => SQL,
): Statement {
  const { limit: _, cursor, ...filter } = asked;
  const values = new Map(Object.entries({ ...filter, ...placeOf(cursor) }).filter(([, value]) => value !== undefined));
  const shape = `${list}, ${sizeWanted(asked)}: ${[...values.keys()]}`;
  let statement = kept.get(shape);
  if (statement === undefined) {
    const places = Object.fromEntries([...values.keys()].map((name) => [name, sql.placeholder(name)]));
    statement = written(write(sql.placeholder('organizationId'), places, rowsWanted(asked)));
    kept.set(shape, statement);
  }
  values.set('organizationId', organizationId);
  return { ...statement, values: statement.values.map((value) => (is(value, Placeholder) ? values.get(value.name) : value)) };
}
