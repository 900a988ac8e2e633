import type { Api } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Trust } from '../core/gate.ts';
import { matchesIdentity } from '../core/identity.ts';
import type { TrustRoot } from '../core/trust-root.ts';
import type { Context } from './context.ts';
import { type PolicyOptions, readKeys, readTrustRoot } from './policy.ts';
import { withTrustRoot } from './trust-root.ts';

/** The trusted root, and who chose it: the user, or the control plane over its connection. */
export type TrustedRoot = { readonly root: TrustRoot; readonly from: 'file' | 'connection'; readonly name: string };

/** What the user pinned: by the option, the environment or the configuration. */
export async function pinnedRoot(context: Context, option: string | undefined): Promise<TrustedRoot | undefined> {
  const path = option ?? (context.env.CHAINLOOP_TRUST_ROOT || (await context.settings()).trustRoot);
  if (path === undefined) return undefined;
  const { loadTrustRoot } = await import('../core/trust-root.ts');
  const root = await withTrustRoot(
    path,
    readTrustRoot(path).then((text) => loadTrustRoot(text)),
  );
  return { root, from: 'file', name: path };
}

/** What the control plane says now. Whoever asks for this believes its connection, and has to be told. */
export async function rootOverConnection(context: Context, api: Api): Promise<TrustedRoot> {
  const { loadTrustRoot } = await import('../core/trust-root.ts');
  const root = await loadTrustRoot(JSON.stringify(await api.trustRoot.get.query()));
  const { url } = await context.settings();
  context.log.warn(`no trusted root is pinned: the one that ${url} answers with now is believed; pin it: --trust-root FILE`);
  return { root, from: 'connection', name: `as ${url} answers now` };
}

/** Whose signature the user wants, if that is said. USAGE for a choice that says less than it seems to; KEY_INVALID. */
export async function signerPolicy(options: PolicyOptions, root: TrustedRoot | undefined): Promise<Trust['policy']> {
  const { key, identity, identityPrefix, identityIssuer: issuer, sourceRepository } = options;
  const named = identity ?? identityPrefix;
  if (key.length > 0 && [named, issuer, sourceRepository].some((value) => value !== undefined)) {
    throw usage('--key is for signatures by a key, --identity for keyless ones; give one or the other');
  }
  if (identity !== undefined && identityPrefix !== undefined)
    throw usage('--identity is exact, --identity-prefix is not; give one of them');
  if (named === undefined && (issuer ?? sourceRepository) !== undefined) {
    throw usage('--identity-issuer and --source-repository need --identity <id> or --identity-prefix <prefix>');
  }
  // A pinned root is of certificates: it is asked about keys, too, only when it is given beside them.
  if (key.length > 0)
    return { type: 'keys', keys: await readKeys(key), trustRoot: options.trustRoot === undefined ? undefined : root?.root };
  if (named === undefined) return undefined;
  if (root === undefined) {
    throw usage('--trust-root <path> is missing: who may vouch for that identity; get it with: chainloop trust-root export --output FILE');
  }
  const match = identity === undefined ? { prefix: named } : { exact: named };
  matchesIdentity('', match);
  return { type: 'identity', trustRoot: root.root, identity: match, issuer, sourceRepository };
}

function usage(message: string): ChainloopError {
  return new ChainloopError('USAGE', message);
}
