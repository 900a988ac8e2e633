import { sql } from 'drizzle-orm';
import { customType, timestamp, uuid } from 'drizzle-orm/pg-core';
import { type Digest, hexOf, parseDigest } from '../core/digest.ts';

/** The primary key of most tables. */
export const id = () => uuid().primaryKey().defaultRandom();

/**
 * The primary key of what is listed by id: a UUID of version 7 (RFC 9562, section 5.7), so that newer rows have greater ids and new index
 * entries lie side by side. Rows from before this was so have random ones.
 */
export const timedId = () =>
  uuid()
    .primaryKey()
    .default(
      sql`encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid`,
    );

/** An instant, to the microsecond in the database. */
export const instant = () => timestamp({ withTimezone: true, precision: 6, mode: 'date' });

export const createdAt = () => instant().notNull().defaultNow();

/** Which organization a row is of. */
export const organization = () => uuid('org_id').notNull();

/** Bytes. */
export const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' });

/** A digest: 32 bytes in the database (an index on them is half the size of one on text), `sha256:<hex>` in memory. */
export const digest = customType<{ data: Digest; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  toDriver: (value) => Buffer.from(hexOf(value), 'hex'),
  fromDriver: (bytes) => parseDigest(`sha256:${Buffer.from(bytes).toString('hex')}`),
});
