import { customType } from 'drizzle-orm/pg-core';
import { type Digest, hexOf, parseDigest } from '../core/digest.ts';

/** Bytes. */
export const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' });

/** A digest: 32 bytes in the database (an index on them is half the size of one on text), `sha256:<hex>` in memory. */
export const digest = customType<{ data: Digest; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  toDriver: (value) => digestBytes(value),
  fromDriver: (bytes) => digestFromBytes(bytes),
});

/** The 32 bytes of a digest. */
export function digestBytes(value: Digest): Uint8Array {
  return Buffer.from(hexOf(value), 'hex');
}

/** The digest that the 32 bytes are. */
function digestFromBytes(bytes: Uint8Array): Digest {
  return parseDigest(`sha256:${Buffer.from(bytes).toString('hex')}`);
}
