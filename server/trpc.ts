import { initTRPC } from '@trpc/server';
import { ChainloopError } from '../core/errors.ts';
import { mayAct, type TokenRole } from '../core/roles.ts';
import { recordAct } from '../db/audit.ts';
import type { Database, OrgScope, SystemScope } from '../db/client.ts';
import { findOrganization } from '../db/organizations.ts';
import { type Actor, isJob, type OrganizationRef, type UserActor } from './actor.ts';
import { auditActor } from './audit-actor.ts';
import type { CertificateAuthority } from './ca/authority.ts';
import type { ContractReader } from './contract-reader.ts';
import type { Federation } from './federation/exchange.ts';
import type { KindChecker } from './kind-checker.ts';
import type { Log } from './log.ts';
import type { Login } from './login/login.ts';
import type { Metrics } from './metrics.ts';
import type { Outbox } from './outbox.ts';
import type { Refusals } from './refusals.ts';
import type { Storages } from './storages.ts';
import type { TrustRoots } from './trust-roots.ts';
import type { Verdicts } from './verdicts.ts';
import { publicError } from './wire-error.ts';

/** What procedures work with. Built once, in main.ts. */
export type Services = {
  readonly database: Database;
  readonly storages: Storages;
  readonly contracts: ContractReader;
  readonly kinds: KindChecker;
  readonly authority: CertificateAuthority;
  readonly trustRoots: TrustRoots;
  readonly federation: Federation;
  /** Absent where people have no provider to log in with. */
  readonly login: Login | undefined;
  readonly outbox: Outbox;
  readonly verdicts: Verdicts;
  readonly metrics: Metrics;
  readonly refusals: Refusals;
  readonly log: Log;
  readonly now: () => Date;
  /** Where users reach this control plane: the configured public origin, else the address that it listens on. */
  readonly origin: () => string;
};

/** One request. `actor` looks the token up once, however many calls are in the batch. */
export type Context = {
  readonly services: Services;
  readonly requestId: string;
  readonly actor: () => Promise<Actor>;
  /** The organization that the caller wants to act in, by name. */
  readonly organizationName: string | undefined;
  /** The other end of the connection. */
  readonly address: string;
};

const t = initTRPC.context<Context>().create({
  isDev: false,
  errorFormatter({ shape, error, ctx }) {
    const requestId = ctx?.requestId ?? '';
    const { message, ...data } = publicError(error, requestId);
    return { message, code: shape.code, data: { ...data, requestId } };
  },
});

export const router = t.router;

/** Whoever can connect. */
export const anyone = t.procedure;

/** Any valid token. */
export const authenticated = t.procedure.use(async ({ ctx, next }) => next({ ctx: { ...ctx, caller: await ctx.actor() } }));

/** The owner of the instance. */
export const instanceOwner = authenticated.use(({ ctx, path, next }) => {
  if (ctx.caller.type !== 'owner') {
    noteRefusal(ctx, path, ctx.caller, ctx.services.database.systemAs(auditActor(ctx.caller)));
    throw new ChainloopError('FORBIDDEN', 'this needs the owner token of the instance (DIR/owner-token on the server)');
  }
  return next();
});

/** Somebody who is logged in. */
export const person = authenticated.use(({ ctx, next }) => {
  const { caller } = ctx;
  if (caller.type !== 'user') throw new ChainloopError('FORBIDDEN', 'this is for a person who is logged in, and not for a token');
  return next({ ctx: { ...ctx, caller } });
});

/** Whoever may read in the organization, evidence included. */
export const viewer = inOrganization('viewer');
/** Whoever may change what is in the organization, but not who is. */
export const admin = inOrganization('admin');
/** Whoever may say who is in the organization, and as what. */
export const organizationOwner = inOrganization('owner');
/** Whoever may attest: a job in its workflow, an API token for that, or an admin in any. */
export const job = inOrganization('attest');

function inOrganization(needed: TokenRole) {
  return authenticated.use(async ({ ctx, path, next }) => {
    const found = await organizationOf(ctx, ctx.caller);
    if (!mayAct(found.role, needed)) {
      noteRefusal(ctx, path, ctx.caller, found.scope);
      throw forbidden(ctx.caller, found, needed);
    }
    return next({ ctx: { ...ctx, ...found } });
  });
}

/** In the log of the organization that it was tried in; of the instance, where that was meant. */
function noteRefusal({ services }: Context, procedure: string, caller: Actor, scope: OrgScope | SystemScope): void {
  const act = { action: 'request.refuse', name: procedure, details: { code: 'FORBIDDEN' } };
  const where = 'organizationId' in scope ? scope.organizationId : '';
  const whose = caller.type === 'owner' ? '' : caller.type === 'user' ? caller.user.id : caller.organization.id;
  services.refusals(whose, `${caller.tokenId} ${where} ${procedure}`, () => recordAct(scope, act));
}

type InOrganization = { readonly organization: OrganizationRef; readonly scope: OrgScope; readonly role: TokenRole };

/** Another organization than the caller's own is as absent as one that does not exist. */
async function organizationOf(ctx: Context, caller: Actor): Promise<InOrganization> {
  const { organization, role } = await placeOf(ctx, caller);
  return { organization, role, scope: ctx.services.database.scope(organization.id, auditActor(caller)) };
}

async function placeOf(ctx: Context, caller: Actor): Promise<Omit<InOrganization, 'scope'>> {
  const { organizationName: name, services } = ctx;
  if (caller.type === 'user') return membershipOf(caller, name);
  if (caller.type === 'owner') {
    if (name === undefined) throw unnamed('the owner token belongs to none');
    const organization = await findOrganization(services.database.system, name);
    if (organization === undefined) throw organizationNotFound(name);
    return { organization, role: 'owner' };
  }
  const { organization } = caller;
  if (name !== undefined && name !== organization.name) throw organizationNotFound(name);
  return { organization, role: caller.type === 'api' ? caller.role : 'attest' };
}

function membershipOf({ memberships }: UserActor, name: string | undefined): Omit<InOrganization, 'scope'> {
  if (memberships.length === 0) throw new ChainloopError('FORBIDDEN', 'you are in no organization any more; ask an owner of yours');
  if (name === undefined && memberships.length > 1) throw unnamed(`you are in ${memberships.length}`);
  const found = memberships.find((membership) => name === undefined || membership.name === name);
  if (found === undefined) throw organizationNotFound(name ?? '');
  return { organization: { id: found.id, name: found.name }, role: found.role };
}

function unnamed(why: string): ChainloopError {
  return new ChainloopError('USAGE', `organization: ${why}; name one with --organization or CHAINLOOP_ORGANIZATION`);
}

function forbidden(caller: Actor, { organization, role }: InOrganization, needed: TokenRole): ChainloopError {
  if (isJob(caller)) {
    const who = caller.type === 'run' ? 'run credential of' : 'service account';
    return new ChainloopError('FORBIDDEN', `${who} '${caller.name}': it may only attest its workflow; use an API token`);
  }
  if (role === 'attest') return new ChainloopError('FORBIDDEN', `API token '${caller.name}': it may only attest; use one with a role`);
  const asked = needed === 'attest' ? 'admin, or an API token for that,' : needed;
  return new ChainloopError('FORBIDDEN', `organization '${organization.name}': this needs ${asked}, and '${caller.name}' is ${role}`);
}

function organizationNotFound(name: string): ChainloopError {
  return new ChainloopError('NOT_FOUND', `organization '${name.slice(0, 63)}': not found`);
}
