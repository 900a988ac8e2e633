import * as z from 'zod';
import { type Digest, isDigest } from '../../core/digest.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import type { Secrets } from '../secrets.ts';
import type { Credential } from '../tokens.ts';
import { type Access, permissions } from './scope.ts';

/** `g` for gateway; logs and secret scanners find it as they find the others. */
const prefix = 'chl_g_';
const context = 'registry-token';

/** Kind and hash of the chainloop token that it stands for, when it ends, and what it is good for. */
const Content = z.tuple([
  z.enum(['owner', 'api', 'service-account', 'run', 'session', 'invitation']),
  z.custom<Digest>(isDigest),
  z.int(),
  z.array(z.tuple([z.string(), z.array(z.enum(permissions))])),
]);

export type RegistryTokens = {
  make(credential: Credential, access: Access): { readonly token: string; readonly issuedAt: Date };
  /** What is in it, or undefined: it is no registry token. Throws UNAUTHENTICATED and TOKEN_EXPIRED. */
  open(token: string): { readonly credential: Credential; readonly access: Access } | undefined;
};

/**
 * Short-lived tokens for standard clients. Nothing of them is stored: what they say is sealed under the master key, so that every server
 * can read it, and each use asks for the chainloop token that they stand for, so that they end with it.
 */
export function createRegistryTokens({ secrets, now }: { readonly secrets: Secrets; readonly now: () => Date }): RegistryTokens {
  return {
    make({ kind, hash }, access) {
      const issuedAt = now();
      const content: z.infer<typeof Content> = [
        kind,
        hash,
        issuedAt.getTime() + limits.registryTokenLifetimeMs,
        [...access].map(([name, granted]) => [name, [...granted]]),
      ];
      const sealed = secrets.seal(JSON.stringify(content), context);
      return { token: prefix + Buffer.from(sealed).toString('base64url'), issuedAt };
    },
    open(token) {
      if (!token.startsWith(prefix)) return undefined;
      const [kind, hash, endsAtMs, access] = read(token.slice(prefix.length));
      if (endsAtMs <= now().getTime()) throw new ChainloopError('TOKEN_EXPIRED', 'registry token: it has expired; ask for a new one');
      return { credential: { kind, hash }, access: new Map(access) };
    },
  };

  function read(text: string): z.infer<typeof Content> {
    try {
      return Content.parse(JSON.parse(secrets.open(Buffer.from(text, 'base64url').toString(), context)));
    } catch {
      throw new ChainloopError('UNAUTHENTICATED', 'registry token: it is not known here; ask for a new one');
    }
  }
}
