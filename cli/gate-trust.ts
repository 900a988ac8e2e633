import { delimiter } from 'node:path';
import type { Api } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Trust } from '../core/gate.ts';
import { matchesIdentity } from '../core/identity.ts';
import { limits } from '../core/limits.ts';
import type { TrustRoot } from '../core/trust-root.ts';
import type { Context } from './context.ts';
import { type PolicyOptions, readKeys, readTrustRoot } from './policy.ts';
import { withTrustRoot } from './trust-root.ts';

/** As those of other commands; of trusted roots there may be several. */
export type GatePolicyOptions = Omit<PolicyOptions, 'trustRoot'> & { readonly trustRoot: readonly string[] };

/** The trusted root, and who chose it: the user, or the control plane over its connection. */
export type TrustedRoot = { readonly root: TrustRoot; readonly from: 'file' | 'connection'; readonly name: string };

/** What the user pinned: by the option, the environment or the configuration. The first is of the control plane. USAGE, LIMIT_EXCEEDED. */
export async function pinnedRoots(context: Context, { trustRoot: given, key }: GatePolicyOptions): Promise<readonly TrustedRoot[]> {
  // As PATH has several, where the option may be given several times.
  const named = context.env.CHAINLOOP_TRUST_ROOT?.split(delimiter).filter((path) => path !== '') ?? [];
  const { trustRoot: configured } = await context.settings();
  const paths = [given, named, configured === undefined ? [] : [configured]].find(({ length }) => length > 0) ?? [];
  if (paths.length > limits.gateTrustRoots)
    throw new ChainloopError(
      'LIMIT_EXCEEDED',
      `trusted roots: ${paths.length} are given (--trust-root, CHAINLOOP_TRUST_ROOT), and at most ${limits.gateTrustRoots} are taken`,
    );
  if (given.length > 1 && key.length > 0) {
    throw usage('--trust-root: beside --key there is one, of the control plane: keys have no certificate that another could vouch for');
  }
  const { loadTrustRoot } = await import('../core/trust-root.ts');
  const load = async (path: string): Promise<TrustedRoot> => {
    const root = await withTrustRoot(
      path,
      readTrustRoot(path).then((text) => loadTrustRoot(text)),
    );
    return { root, from: 'file', name: path };
  };
  return Promise.all(paths.map(load));
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
export async function signerPolicy(options: GatePolicyOptions, root: TrustedRoot | undefined): Promise<Trust['policy']> {
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
    return { type: 'keys', keys: await readKeys(key), trustRoot: options.trustRoot.length === 0 ? undefined : root?.root };
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
