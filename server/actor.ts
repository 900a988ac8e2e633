import type { JobClaims, JobIdentity } from '../core/claims.ts';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { TokenRole } from '../core/roles.ts';
import { recordAct } from '../db/audit.ts';
import type { Database } from '../db/client.ts';
import { findRunCredential } from '../db/run-credentials.ts';
import { findSession, type Membership, type OpenSessionRow, touchSession } from '../db/sessions.ts';
import { findToken, type Credential as TokenRow, touchToken } from '../db/tokens.ts';
import type { Log } from './log.ts';
import { createRateLimit } from './rate-limit.ts';
import { createRefusals } from './refusals.ts';
import { type Credential, unknownToken } from './tokens.ts';

export type OrganizationRef = { readonly id: string; readonly name: string };
export type WorkflowName = { readonly id: string; readonly name: string; readonly project: string };

/**
 * Who a request speaks for. The owner is of the instance and acts in the organization that it names, a person in those that he is in; the
 * others belong to one. The last two are jobs: they may attest one workflow, and nothing else.
 */
export type Actor = { readonly tokenId: string; readonly name: string; readonly expiresAt: Date | null } & (
  | { readonly type: 'owner' }
  | { readonly type: 'api'; readonly organization: OrganizationRef; readonly role: TokenRole }
  | UserActor
  | JobActor
);

/** A person who is logged in: `tokenId` is the session's. What he may do is what it is at this moment. */
export type UserActor = {
  readonly type: 'user';
  readonly user: { readonly id: string; readonly email: string | null };
  readonly memberships: readonly Membership[];
};

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
 * The actor of a credential, who makes so many `requests` at once (default 1), of an organization if it names one. Throws UNAUTHENTICATED,
 * TOKEN_EXPIRED, TOKEN_REVOKED, and RATE_LIMITED for a token, or an organization, that makes too many.
 */
export type Identify = (credential: Credential, requests?: number, organization?: string) => Promise<Actor>;

/** The same of an Authorization header. */
export type Authenticate = (authorization: string | undefined, requests?: number, organization?: string) => Promise<Actor>;

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
  /** A session that is not used for so long has ended; undefined: it lasts as long as it lasts. */
  readonly sessionIdleMs: number | undefined;
}): Identify {
  const { database, log, now, origin, rates, sessionIdleMs } = deps;
  const limitToken = createRateLimit(rates.token);
  const limitOrganization = createRateLimit(rates.organization);

  const refusals = createRefusals({ log, now });

  /** Whoever uses a token that has ended may have stolen it. */
  function noteRefusal(row: TokenRow, code: 'TOKEN_REVOKED' | 'TOKEN_EXPIRED'): void {
    const kind = row.kind === 'service-account' ? row.kind : (`${row.kind}-token` as const);
    const by = { kind: kind === 'owner-token' ? 'owner' : kind, id: row.id, name: row.name } as const;
    const scope = row.organizationId === null ? database.systemAs(by) : database.scope(row.organizationId, by);
    const act = { action: `${kind}.refuse`, name: row.name, details: { id: row.id, code } };
    refusals(row.organizationId ?? '', `${row.id} ${code}`, () => recordAct(scope, act));
  }

  async function find({ kind, hash }: Credential): Promise<Actor> {
    if (kind === 'run') return runActor(database, hash, now());
    if (kind === 'session') return userActor(hash, now());
    const row = await findToken(database.system, hash);
    if (row === undefined) throw unknownToken();
    const at = now();
    if (row.revokedAt !== null) {
      noteRefusal(row, 'TOKEN_REVOKED');
      throw new ChainloopError('TOKEN_REVOKED', `token '${row.name}': it was revoked at ${row.revokedAt.toISOString()}; ask for a new one`);
    }
    if (row.expiresAt !== null && row.expiresAt <= at) {
      noteRefusal(row, 'TOKEN_EXPIRED');
      throw new ChainloopError('TOKEN_EXPIRED', `token '${row.name}': it expired at ${row.expiresAt.toISOString()}; ask for a new one`);
    }
    if (row.lastUsedAt === null || at.getTime() - row.lastUsedAt.getTime() > touchIntervalMs) {
      touchToken(database.system, row.id, at).catch((error: unknown) => log.warn({ error }, 'last use of a token not written'));
    }
    return actorOf(row, origin());
  }

  async function userActor(hash: Digest, at: Date): Promise<Actor> {
    const row = await findSession(database.system, hash);
    if (row === undefined) throw unknownToken();
    if (row.revokedAt !== null) throw new ChainloopError('TOKEN_REVOKED', 'session: you logged out; log in with: chainloop auth login');
    const endsAt = sessionEnd(row, sessionIdleMs);
    if (endsAt <= at) {
      throw new ChainloopError('TOKEN_EXPIRED', `session: it ended at ${endsAt.toISOString()}; log in again with: chainloop auth login`);
    }
    if (at.getTime() - row.lastUsedAt.getTime() > touchIntervalMs) {
      touchSession(database.system, row.id, at).catch((error: unknown) => log.warn({ error }, 'last use of a session not written'));
    }
    const { id, name, email } = row.user;
    return { type: 'user', tokenId: row.id, name, expiresAt: row.expiresAt, user: { id, email }, memberships: row.memberships };
  }

  return async (credential, requests = 1, organization) => {
    // Before the database is asked: what is too much costs nothing here.
    limitToken(credential.hash, 'token', requests);
    const actor = await find(credential);
    // Whoever logs in ten times has no more than who does once.
    if (actor.type === 'user') limitToken(actor.user.id, `'${actor.name}'`, requests);
    const asked = organizationOf(actor, organization);
    if (asked !== undefined) limitOrganization(asked.id, `organization '${asked.name}'`, requests);
    return actor;
  };
}

/** When a session ends, if it is not used until then. */
export function sessionEnd({ expiresAt, lastUsedAt }: OpenSessionRow, idleMs: number | undefined): Date {
  return new Date(Math.min(expiresAt.getTime(), idleMs === undefined ? Number.POSITIVE_INFINITY : lastUsedAt.getTime() + idleMs));
}

/** Whose rate the requests of an actor count for. The owner's for nobody's; those of a person for the organization that he names, or is in alone. */
function organizationOf(actor: Actor, named: string | undefined): OrganizationRef | undefined {
  if (actor.type === 'owner') return undefined;
  if (actor.type !== 'user') return actor.organization;
  return actor.memberships.length === 1 ? actor.memberships[0] : actor.memberships.find(({ name }) => name === named);
}

/** True for what may attest one workflow, and nothing else: a service account, or a federated job. */
export function isJob(actor: Actor): actor is Actor & JobActor {
  return actor.type === 'service-account' || actor.type === 'run';
}

/** True for what may only attest: a job, or an API token for that. */
export function onlyAttests(actor: Actor): boolean {
  return isJob(actor) || (actor.type === 'api' && actor.role === 'attest');
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
