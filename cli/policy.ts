import { basename } from 'node:path';
import { ChainloopError } from '../core/errors.ts';
import { type IdentityMatch, matchesIdentity } from '../core/identity.ts';
import { limits } from '../core/limits.ts';
import type { Policy } from '../core/verify.ts';
import { text, texts } from './command.ts';

/** Whom the user trusts: public keys, or an identity together with the authorities that may vouch for it. */
export const policyFlags = {
  key: texts('<path>', 'a public key that you trust (PEM)'),
  trustRoot: text('<path>', 'the authorities that you trust, as written by trust-root export'),
  identity: text('<id>', 'who must have signed, exactly as in the certificate'),
  identityPrefix: text('<prefix>', 'how the identity of the signer must begin: https://github.com/acme/app/'),
  identityIssuer: text('<url>', 'who must vouch for the identity, exactly'),
  sourceRepository: text('<url>', 'what the job must have built, exactly: https://github.com/acme/app'),
};

export type PolicyOptions = {
  readonly key: readonly string[];
  readonly trustRoot: string | undefined;
  readonly identity: string | undefined;
  readonly identityPrefix: string | undefined;
  readonly identityIssuer: string | undefined;
  readonly sourceRepository: string | undefined;
};

/**
 * The policy in these options; undefined when there is none in them. USAGE for a choice that would believe more than it says, or nobody;
 * KEY_INVALID and TRUST_ROOT_INVALID for what cannot be read.
 */
export async function readPolicy(options: PolicyOptions): Promise<Policy | undefined> {
  const { key, trustRoot, identity, identityPrefix, identityIssuer: issuer, sourceRepository } = options;
  const keyless = [trustRoot, identity, identityPrefix, issuer, sourceRepository].some((value) => value !== undefined);
  if (!keyless) return key.length === 0 ? undefined : { type: 'keys', keys: await readKeys(key) };
  if (key.length > 0) {
    throw usage('--key is for signatures by a key, --trust-root and --identity for keyless ones; give one or the other');
  }
  if (identity === undefined && identityPrefix === undefined) {
    throw usage(
      'say who must have signed, with --identity <id> or --identity-prefix <prefix>: the authorities of a trusted root certify many others too',
    );
  }
  if (identity !== undefined && identityPrefix !== undefined) {
    throw usage('--identity is exact, --identity-prefix is not; give one of them');
  }
  if (trustRoot === undefined) {
    throw usage('--trust-root <path> is missing: who may vouch for that identity; get it with: chainloop trust-root export --output FILE');
  }
  const match: IdentityMatch = identity === undefined ? { prefix: identityPrefix ?? '' } : { exact: identity };
  // A malformed prefix is said before anything is read.
  matchesIdentity('', match);
  const { loadTrustRoot } = await import('../core/trust-root.ts');
  const root = await loadTrustRoot(await readTrustRoot(trustRoot));
  return { type: 'identity', trustRoot: root, identity: match, issuer, sourceRepository };
}

/** The text of a trusted root. TRUST_ROOT_INVALID when it is none. */
export async function readTrustRoot(path: string): Promise<string> {
  const { readLimited } = await import('../core/adapters/files.ts');
  const bytes = await readLimited(path, limits.trustRootSizeBytes);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ChainloopError('TRUST_ROOT_INVALID', `trusted root: ${path} is not UTF-8 text`, { cause });
  }
}

/** Each key is called by the name of its file. */
export async function readKeys(paths: readonly string[]) {
  const { readPublicKey } = await import('../core/adapters/keys.ts');
  return Promise.all(paths.map(async (path) => ({ name: basename(path), pem: (await readPublicKey(path)).pem })));
}

function usage(message: string): ChainloopError {
  return new ChainloopError('USAGE', message);
}
