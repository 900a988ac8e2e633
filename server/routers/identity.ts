import { refuseUnmatchable } from '../../core/identity.ts';
import { loadTrustRoot } from '../../core/trust-root.ts';
import { type TrustedIdentityView, wire } from '../../core/wire.ts';
import { createIdentity, listIdentities, removeIdentity, type TrustedIdentityRow } from '../../db/identities.ts';
import { admin, router, viewer } from '../trpc.ts';

export const identities = router({
  /** From now on, attestations by a certificate of this identity are accepted. Without a trusted root, by one of the built-in authority. */
  trust: admin.input(wire.identityTrust).mutation(async ({ ctx: { scope }, input }) => {
    const { name, issuer, identity, trustRoot } = input;
    refuseUnmatchable(issuer, identity);
    if (trustRoot !== undefined) await loadTrustRoot(trustRoot);
    const match = 'exact' in identity ? ('exact' as const) : ('prefix' as const);
    const san = 'exact' in identity ? identity.exact : identity.prefix;
    return view(await createIdentity(scope, { name, issuer, san, match, trustedRoot: trustRoot ?? null }));
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listIdentities(scope, input);
    return { items: items.map(view), nextCursor };
  }),
  /** Runs that it signed are shown as not verified afterwards, unless it is what the run was opened as. */
  remove: admin.input(wire.byName).mutation(async ({ ctx: { scope }, input }) => view(await removeIdentity(scope, input.name))),
});

function view({ id, name, issuer, san, match, trustedRoot, createdAt }: TrustedIdentityRow): TrustedIdentityView {
  return { id, name, issuer, san, match, authority: trustedRoot === null ? 'built-in' : 'own', createdAt: createdAt.toISOString() };
}
