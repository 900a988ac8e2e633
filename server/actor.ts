import { ChainloopError } from '../core/errors.ts';
import type { Database } from '../db/client.ts';
import { type Credential, findToken, touchToken } from '../db/tokens.ts';
import type { Log } from './log.ts';
import { hashToken, parseToken, tokenOf } from './tokens.ts';

export type OrganizationRef = { readonly id: string; readonly name: string };

/**
 * Who a request speaks for. The owner is of the instance and acts in the organization that it names; the others belong to one.
 * A service account may attest one workflow, and nothing else.
 */
export type Actor = { readonly tokenId: string; readonly name: string; readonly expiresAt: Date | null } & (
  | { readonly type: 'owner' }
  | { readonly type: 'api'; readonly organization: OrganizationRef }
  | {
      readonly type: 'service-account';
      readonly organization: OrganizationRef;
      readonly workflow: { readonly id: string; readonly name: string; readonly project: string };
    }
);

/** The actor of an Authorization header. Throws UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED. */
export type Authenticate = (authorization: string | undefined) => Promise<Actor>;

/** How often the time of the last use is written, at most. */
const touchIntervalMs = 60_000;

/** Every request reads its token from the database: what is revoked is refused at once, on every server. */
export function createAuthenticate(deps: { readonly database: Database; readonly log: Log; readonly now: () => Date }): Authenticate {
  return async (authorization) => {
    const token = tokenOf(authorization);
    if (token === undefined) throw new ChainloopError('UNAUTHENTICATED', 'token: none was sent; set CHAINLOOP_TOKEN');
    const row = parseToken(token) === undefined ? undefined : await findToken(deps.database.system, hashToken(token));
    if (row === undefined)
      throw new ChainloopError('UNAUTHENTICATED', 'token: it is not known here; check CHAINLOOP_TOKEN and CHAINLOOP_URL');
    const now = deps.now();
    if (row.revokedAt !== null) {
      throw new ChainloopError('TOKEN_REVOKED', `token '${row.name}': it was revoked at ${row.revokedAt.toISOString()}; ask for a new one`);
    }
    if (row.expiresAt !== null && row.expiresAt <= now) {
      throw new ChainloopError('TOKEN_EXPIRED', `token '${row.name}': it expired at ${row.expiresAt.toISOString()}; ask for a new one`);
    }
    if (row.lastUsedAt === null || now.getTime() - row.lastUsedAt.getTime() > touchIntervalMs) {
      touchToken(deps.database.system, row.id, now).catch((error: unknown) => deps.log.warn({ error }, 'last use of a token not written'));
    }
    return actorOf(row);
  };
}

function actorOf(row: Credential): Actor {
  const { id: tokenId, name, expiresAt, organizationId, workflowId, project } = row;
  if (row.kind === 'owner') return { type: 'owner', tokenId, name, expiresAt };
  if (organizationId === null || row.organization === null) throw new Error(`token ${tokenId} belongs to no organization`);
  const organization = { id: organizationId, name: row.organization };
  if (row.kind === 'api') return { type: 'api', tokenId, name, expiresAt, organization };
  if (workflowId === null || row.workflow === null || project === null)
    throw new Error(`service account ${tokenId} is bound to no workflow`);
  return { type: 'service-account', tokenId, name, expiresAt, organization, workflow: { id: workflowId, name: row.workflow, project } };
}
