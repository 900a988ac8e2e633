import type { ParsedBundle } from '../core/bundle.ts';
import type { TrustRoot } from '../core/trust-root.ts';
import type { IdentityPolicy, Policy } from '../core/verify.ts';
import type { OrgScope } from '../db/client.ts';
import { allIdentities } from '../db/identities.ts';
import { trustedKeys } from '../db/keys.ts';
import type { RunContext } from '../db/runs.ts';
import type { CertificateAuthority } from './ca/authority.ts';
import type { TrustRoots } from './trust-roots.ts';

/** Our own authority, and trusted roots that are ready. */
export type SignerSources = { readonly authority: Pick<CertificateAuthority, 'trustRoot'>; readonly trustRoots: TrustRoots };

/**
 * Whom an organization believes now about a run. A key: those that it registered. A certificate: of our own authority, when it names
 * exactly whom the run was opened as, and the repository of its job (the callers of a reusable workflow share its name); or of an identity that it trusts, under our authority or the trusted root that it gave for it.
 * Nothing of it comes from the bundle, except which of the two to look up.
 */
export async function signerPolicy(
  deps: SignerSources,
  scope: OrgScope,
  run: Pick<RunContext, 'identitySan' | 'identityIssuer' | 'claims'>,
  { signer }: ParsedBundle,
): Promise<Policy> {
  if (signer.type === 'publicKey') return { type: 'keys', keys: await trustedKeys(scope) };
  const builtIn = await deps.trustRoots.loadBuiltIn(JSON.stringify(await deps.authority.trustRoot()));
  const identities = await allIdentities(scope);
  const trusted = identities.map(async ({ issuer, san, match, trustedRoot }) => {
    const identity = match === 'exact' ? { exact: san } : { prefix: san };
    if (trustedRoot === null) return identityPolicy(builtIn, identity, issuer);
    return { ...identityPolicy(await deps.trustRoots.load(trustedRoot), identity, issuer), authority: 'own' } as const;
  });
  const own =
    run.identitySan === null || run.identityIssuer === null
      ? []
      : [{ ...identityPolicy(builtIn, { exact: run.identitySan }, run.identityIssuer), sourceRepository: run.claims?.fulcio[12] }];
  return { type: 'any', of: [...own, ...(await Promise.all(trusted))] };
}

function identityPolicy(trustRoot: TrustRoot, identity: IdentityPolicy['identity'], issuer: string): IdentityPolicy {
  return { type: 'identity', trustRoot, identity, issuer, strict: true };
}
