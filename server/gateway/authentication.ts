import type { IncomingMessage } from 'node:http';
import { ChainloopError, isChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { createFailureLimit } from '../failure-limit.ts';
import type { Secrets } from '../secrets.ts';
import { type Credential, credentialOf, tokenOf } from '../tokens.ts';
import type { GatewayActor } from './actor.ts';
import { createRegistryTokens } from './registry-token.ts';
import { type Access, grant } from './scope.ts';

export type AuthenticationOptions = {
  /**
   * Who a chainloop token speaks for, as it is now; `organization` is the one that is asked for. Throws UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED,
   * RATE_LIMITED, STORAGE_UNAVAILABLE.
   */
  identify(credential: Credential, organization?: string): Promise<GatewayActor>;
  /** Seals the registry tokens. */
  readonly secrets: Secrets;
  readonly now: () => Date;
  /** Counts unknown tokens by address; not behind a proxy, where all have the same. */
  readonly limitByAddress: boolean;
};

export type Sale = { readonly token: string; readonly issuedAt: Date; readonly access: Access };

/** Both throw UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED, RATE_LIMITED, STORAGE_UNAVAILABLE. */
export type Authentication = {
  /** Who the `Authorization` header speaks for: a chainloop token or a registry token, as Bearer or as the password of any user. */
  actorOf(request: IncomingMessage, organization?: string): Promise<GatewayActor>;
  /** A registry token for a chainloop token (never for another registry token: it would not end), and what it is good for. */
  sell(request: IncomingMessage, token: string | undefined, scopes: readonly string[]): Promise<Sale>;
};

export function createAuthentication({ identify, secrets, now, limitByAddress }: AuthenticationOptions): Authentication {
  const tokens = createRegistryTokens({ secrets, now });
  const limited = createFailureLimit({
    now,
    perMinute: limits.failedLoginsPerMinute,
    counts: (error) => limitByAddress && isChainloopError(error, 'UNAUTHENTICATED'),
    message: 'token: too many unknown ones came from this address; try again in a minute',
  });
  /** Clients ask without a token first, to be told how to log in: that is no failed login. */
  const presented = <T>(request: IncomingMessage, token: string | undefined, use: (token: string) => Promise<T>): Promise<T> => {
    if (token === undefined)
      throw new ChainloopError('UNAUTHENTICATED', 'token: none was sent; log in with a chainloop token as the password');
    return limited(request.socket.remoteAddress ?? '', () => use(token), token);
  };

  return {
    async actorOf(request, organization) {
      return presented(request, tokenOf(request.headers.authorization), async (token) => {
        const opened = tokens.open(token);
        if (opened === undefined) return identify(credentialOf(token), organization);
        return { ...(await identify(opened.credential, organization)), access: opened.access };
      });
    },
    async sell(request, token, scopes) {
      return presented(request, token, async (presentedToken) => {
        const credential = credentialOf(presentedToken);
        const access = grant(await identify(credential), scopes);
        return { ...tokens.make(credential, access), access };
      });
    },
  };
}
