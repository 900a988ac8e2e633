import { and, count, desc, eq } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { trustedIdentities } from './trust-schema.ts';
import { found, refusing } from './violation.ts';

export type TrustedIdentityRow = typeof trustedIdentities.$inferSelect;

/**
 * Trusts whoever has a certificate of this identity. Throws ALREADY_EXISTS for a name that is taken, LIMIT_EXCEEDED beyond
 * `limits.identities` and `limits.ownRoots`; those that are made at the same moment may go beyond it by a few.
 */
export async function createIdentity(
  scope: OrgScope,
  identity: Pick<TrustedIdentityRow, 'name' | 'issuer' | 'san' | 'match' | 'trustedRoot'>,
): Promise<TrustedIdentityRow> {
  const { name } = identity;
  const [row] = await refusing(
    {
      trusted_identities_name_key: () => new ChainloopError('ALREADY_EXISTS', `identity '${name}' exists already; choose another name`),
    },
    scope.run(async (tx) => {
      const [there] = await tx
        .select({ all: count(), ownRoots: count(trustedIdentities.trustedRoot) })
        .from(trustedIdentities)
        .where(eq(trustedIdentities.organizationId, scope.organizationId));
      const { all = 0, ownRoots = 0 } = there ?? {};
      if (all >= limits.identities) throw tooMany(`${limits.identities} trusted identities`);
      if (identity.trustedRoot !== null && ownRoots >= limits.ownRoots) throw tooMany(`${limits.ownRoots} with trusted roots of their own`);
      return tx
        .insert(trustedIdentities)
        .values({ ...identity, organizationId: scope.organizationId })
        .returning();
    }),
  );
  return found(row, `identity '${name}'`);
}

/** The trusted identities, newest first. Throws USAGE for a malformed cursor. */
export async function listIdentities(scope: OrgScope, page: Page): Promise<Paged<TrustedIdentityRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: trustedIdentities, at: position(trustedIdentities) })
      .from(trustedIdentities)
      .where(and(eq(trustedIdentities.organizationId, scope.organizationId), after(trustedIdentities, page.cursor)))
      .orderBy(desc(trustedIdentities.createdAt), desc(trustedIdentities.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** All identities that the organization trusts now. */
export function allIdentities(scope: OrgScope): Promise<TrustedIdentityRow[]> {
  return scope.read((tx) => tx.select().from(trustedIdentities).where(eq(trustedIdentities.organizationId, scope.organizationId)));
}

/** Trusts an identity no longer. Throws NOT_FOUND. */
export async function removeIdentity(scope: OrgScope, name: string): Promise<TrustedIdentityRow> {
  const [row] = await scope.run((tx) =>
    tx
      .delete(trustedIdentities)
      .where(and(eq(trustedIdentities.organizationId, scope.organizationId), eq(trustedIdentities.name, name)))
      .returning(),
  );
  return found(row, `identity '${name}'`);
}

function tooMany(what: string): ChainloopError {
  return new ChainloopError(
    'LIMIT_EXCEEDED',
    `identity: the organization has ${what} already; remove one that signs no more with: chainloop identity rm`,
  );
}
