import { and, desc, eq } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { publicKeys } from './schema.ts';
import { found, refusing } from './violation.ts';

export type PublicKeyRow = typeof publicKeys.$inferSelect;

/** Trusts a signer. Throws ALREADY_EXISTS for a name that is taken, or for a key that is trusted under another name. */
export async function createKey(scope: OrgScope, key: Pick<PublicKeyRow, 'name' | 'hint' | 'type' | 'pem'>): Promise<PublicKeyRow> {
  const [row] = await refusing(
    {
      public_keys_name_key: () => new ChainloopError('ALREADY_EXISTS', `key '${key.name}' exists already; choose another name`),
      public_keys_hint_key: () => new ChainloopError('ALREADY_EXISTS', `key '${key.name}': this key is trusted already under another name`),
    },
    scope.run((tx) =>
      tx
        .insert(publicKeys)
        .values({ ...key, organizationId: scope.organizationId })
        .returning(),
    ),
  );
  return found(row, `key '${key.name}'`);
}

/** The trusted keys, newest first. Throws USAGE for a malformed cursor. */
export async function listKeys(scope: OrgScope, page: Page): Promise<Paged<PublicKeyRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: publicKeys, at: position(publicKeys) })
      .from(publicKeys)
      .where(and(eq(publicKeys.organizationId, scope.organizationId), after(publicKeys, page.cursor)))
      .orderBy(desc(publicKeys.createdAt), desc(publicKeys.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** All keys that the organization trusts now: the policy of every verification. */
export function trustedKeys(scope: OrgScope): Promise<PublicKeyRow[]> {
  return scope.read((tx) => tx.select().from(publicKeys).where(eq(publicKeys.organizationId, scope.organizationId)));
}

/** Trusts a signer no longer. Throws NOT_FOUND. */
export async function removeKey(scope: OrgScope, name: string): Promise<PublicKeyRow> {
  const [row] = await scope.run((tx) =>
    tx
      .delete(publicKeys)
      .where(and(eq(publicKeys.organizationId, scope.organizationId), eq(publicKeys.name, name)))
      .returning(),
  );
  return found(row, `key '${name}'`);
}
