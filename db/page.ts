import { type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import * as z from 'zod';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Paged } from '../core/wire.ts';

/** Newest first, by key and never by offset: the ten-thousandth page costs what the first does, and new rows shift nothing. */
export type Page = { readonly limit: number; readonly cursor?: string | undefined };

/** The last row of a page. The time is text, since a Date has no microseconds and would skip or repeat rows. */
const Position = z.tuple([z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(:\d\d)?$/), z.uuid()]);

type Key = { readonly createdAt: PgColumn; readonly id: PgColumn };

/** Selected beside the row, for `paged`. */
export function position(key: Key): SQL<string> {
  return sql<string>`${key.createdAt}::text`;
}

/** The condition for rows after the cursor. Throws USAGE for a cursor that no list gave. */
export function after(key: Key, cursor: string | undefined): SQL | undefined {
  return afterPlace(key, placeOf(cursor));
}

/** The last row of the page before, or where it goes in the text of a statement. */
type Place<Value> = { readonly at?: Value | undefined; readonly id?: Value | undefined };

/** Throws USAGE for a cursor that no list gave. */
export function placeOf(cursor: string | undefined): Place<string> {
  if (cursor === undefined) return {};
  const [at, id] = parseCursor(cursor);
  return { at, id };
}

/** The condition for rows after it. */
export function afterPlace(key: Key, { at, id }: Place<string | Placeholder>): SQL | undefined {
  return at === undefined ? undefined : sql`(${key.createdAt}, ${key.id}) < (${at}::timestamptz, ${id}::uuid)`;
}

/** The condition for rows after the cursor in a list by an id with a time in it alone. Throws USAGE for a cursor that no list gave. */
export function afterId(id: PgColumn, cursor: string | undefined): SQL | undefined {
  return cursor === undefined ? undefined : sql`${id} < ${parseCursor(cursor)[1]}::uuid`;
}

/**
 * How many rows to ask for: at least one too many, which says that there is more. It stands in the text of the statement, and in few sizes:
 * PostgreSQL plans a prepared statement once, and only when it knows that few rows are wanted does it take them from an index.
 */
export function rowsWanted(page: Page): SQL {
  return sql.raw(String(sizeWanted(page)));
}

export function sizeWanted({ limit }: Page): number {
  return limit <= 50 ? 51 : limits.pageSize + 1;
}

/** The page, of `rowsWanted` rows, or `limit + 1`. */
export function paged<Row extends { readonly id: string }, T>(
  rows: readonly { readonly row: Row; readonly at: string }[],
  page: Page,
  view: (row: Row) => T,
): Paged<T> {
  const last = rows[page.limit - 1];
  const items = rows.slice(0, page.limit).map(({ row }) => view(row));
  return rows.length > page.limit && last !== undefined ? { items, nextCursor: cursorOf(last.at, last.row.id) } : { items };
}

/** A row as SQL alone has written it: `createdAt` is text, as `position` has it. */
export type Written<Row extends { readonly createdAt: Date }> = Omit<Row, 'createdAt'> & { readonly createdAt: unknown };

/** The page of such rows. They are changed and handed on: to copy them takes as long as to read them from the connection. */
export function pagedAt<Row extends { readonly id: string; readonly createdAt: unknown }>(
  rows: readonly Row[],
  page: Page,
): Paged<Row & { readonly createdAt: Date }> {
  const last = rows[page.limit - 1];
  const next = rows.length > page.limit && last !== undefined ? { nextCursor: cursorOf(String(last.createdAt), last.id) } : {};
  const items = rows.slice(0, page.limit).map((row) => Object.assign(row, { createdAt: new Date(String(row.createdAt)) }));
  return { items, ...next };
}

function cursorOf(at: string, id: string): string {
  return Buffer.from(JSON.stringify([at, id])).toString('base64url');
}

function parseCursor(cursor: string): z.infer<typeof Position> {
  try {
    return Position.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new ChainloopError('USAGE', 'cursor: not one that a list gave; leave it out to begin at the first page', { cause });
  }
}
