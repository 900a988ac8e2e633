import type { JobClaims, JobIdentity } from '../core/claims.ts';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { TokenRole } from '../core/roles.ts';
import type { Database } from '../db/client.ts';
import { findRunCredential } from '../db/run-credentials.ts';
import { findToken, type Credential as TokenRow, touchToken } from '../db/tokens.ts';
import type { Log } from './log.ts';
import { createRateLimit } from './rate-limit.ts';
import { type Credential, unknownToken } from './tokens.ts';

export type OrganizationRef = { readonly id: string; readonly name: string };
export type WorkflowName = { readonly id: string; readonly name: string; readonly project: string };

/**
 * Who a request speaks for. The owner is of the instance and acts in the organization that it names; the others belong to one. The
 * last two are jobs: they may attest one workflow, and nothing else.
 */
export type Actor = { readonly tokenId: string; readonly name: string; readonly expiresAt: Date | null } & (
  | { readonly type: 'owner' }
  | { readonly type: 'api'; readonly organization: OrganizationRef; readonly role: TokenRole }
  | JobActor
);

/** A job, and whom a certificate for it names. */
export type JobActor = { readonly organization: OrganizationRef; readonly workflow: WorkflowName; readonly identity: JobIdentity } & (
  | { readonly type: 'service-account' }
  | {
      /** Has a run credential, from the exchange of its CI system's token. */
      readonly type: 'run';
      /** What that token proved. */
      readonly claims: JobClaims;
      /** The one run that it may touch (runs.natural_key): all jobs of one CI run have the same. */
      readonly naturalKey: string;
    }
);

/**
 * The actor of a credential, who makes so many `requests` at once (default 1). Throws UNAUTHENTICATED, TOKEN_EXPIRED, TOKEN_REVOKED, and
 * RATE_LIMITED for a token, or an organization, that makes too many.
 */
export type Identify = (credential: Credential, requests?: number) => Promise<Actor>;

/** The same of an Authorization header. */
export type Authenticate = (authorization: string | undefined, requests?: number) => Promise<Actor>;

/** How often the time of the last use is written, at most. */
const touchIntervalMs = 60_000;

/** Every request reads its token from the database: what is revoked is refused at once, on every server. */
export function createIdentify(deps: {
  readonly database: Database;
  readonly log: Log;
  readonly now: () => Date;
  /** The control plane's own, as jobs and verifiers know it: known once it listens. */
  readonly origin: () => string;
  /** Requests a second; 0: no limit. */
  readonly rates: { readonly token: number; readonly organization: number };
}): Identify {
  const { database, log, now, origin, rates } = deps;
  const limitToken = createRateLimit(rates.token);
  const limitOrganization = createRateLimit(rates.organization);

  async function find({ kind, hash }: Credential): Promise<Actor> {
    if (kind === 'run') return runActor(database, hash, now());
    const row = await findToken(database.system, hash);
    if (row === undefined) throw unknownToken();
    const at = now();
    if (row.revokedAt !== null) {
      throw new ChainloopError('TOKEN_REVOKED', `token '${row.name}': it was revoked at ${row.revokedAt.toISOString()}; ask for a new one`);
    }
    if (row.expiresAt !== null && row.expiresAt <= at) {
      throw new ChainloopError('TOKEN_EXPIRED', `token '${row.name}': it expired at ${row.expiresAt.toISOString()}; ask for a new one`);
    }
    if (row.lastUsedAt === null || at.getTime() - row.lastUsedAt.getTime() > touchIntervalMs) {
      touchToken(database.system, row.id, at).catch((error: unknown) => log.warn({ error }, 'last use of a token not written'));
    }
    return actorOf(row, origin());
  }

  return async (credential, requests = 1) => {
    // Before the database is asked: what is too much costs nothing here.
    limitToken(credential.hash, 'token', requests);
    const actor = await find(credential);
    if (actor.type !== 'owner') limitOrganization(actor.organization.id, `organization '${actor.organization.name}'`, requests);
    return actor;
  };
}

/** True for what may attest one workflow, and nothing else: a service account, or a federated job. */
export function isJob(actor: Actor): actor is Actor & JobActor {
  return actor.type === 'service-account' || actor.type === 'run';
}

/** What the actor may do in its organization; the owner of the instance in any. */
export function roleOf(actor: Actor): TokenRole {
  if (actor.type === 'owner') return 'owner';
  return actor.type === 'api' ? actor.role : 'attest';
}

async function runActor(database: Database, hash: Digest, now: Date): Promise<Actor> {
  const row = await findRunCredential(database.system, hash);
  if (row === undefined) throw unknownToken();
  const { id: tokenId, claims, naturalKey, organization, workflow, expiresAt } = row;
  if (row.removed) {
    throw new ChainloopError('TOKEN_REVOKED', `run credential: the binding that it came from was removed, or its workflow was`);
  }
  if (expiresAt <= now) {
    throw new ChainloopError(
      'TOKEN_EXPIRED',
      `run credential: it expired at ${expiresAt.toISOString()}; exchange a new token of the CI system`,
    );
  }
  const identity = { san: claims.san, issuer: claims.issuer };
  return { type: 'run', tokenId, name: claims.repository, expiresAt, organization, workflow, identity, claims, naturalKey };
}

function actorOf(row: TokenRow, origin: string): Actor {
  const { id: tokenId, name, expiresAt, organizationId, workflowId, project } = row;
  if (row.kind === 'owner') return { type: 'owner', tokenId, name, expiresAt };
  if (organizationId === null || row.organization === null) throw new Error(`token ${tokenId} belongs to no organization`);
  const organization = { id: organizationId, name: row.organization };
  if (row.kind === 'api') return { type: 'api', tokenId, name, expiresAt, organization, role: row.role ?? 'admin' };
  if (workflowId === null || row.workflow === null || project === null)
    throw new Error(`service account ${tokenId} is bound to no workflow`);
  const workflow = { id: workflowId, name: row.workflow, project };
  const identity = { san: serviceAccountSan(origin, organization.name, workflow, name), issuer: origin };
  return { type: 'service-account', tokenId, name, expiresAt, organization, workflow, identity };
}

/** How a certificate names a service account. Names are DNS labels, so nothing needs escaping. */
function serviceAccountSan(origin: string, organization: string, workflow: WorkflowName, name: string): string {
  return `${origin}/organizations/${organization}/projects/${workflow.project}/workflows/${workflow.name}/service-accounts/${name}`;
}
