import { type ExchangeAnswer, wire } from '../../core/wire.ts';
import { isJob } from '../actor.ts';
import { anyone, authenticated, router } from '../trpc.ts';

export const auth = router({
  /** A run credential for the token of a CI system, once. Whoever calls needs nothing else. */
  exchange: anyone
    .input(wire.authExchange)
    .mutation(
      ({ ctx, input }): Promise<ExchangeAnswer> =>
        ctx.services.federation.exchange({ ...input, organization: ctx.organizationName, address: ctx.address }),
    ),
  /** Whom the token speaks for, and until when. */
  whoami: authenticated.query(({ ctx: { caller } }) => ({
    kind: caller.type,
    name: caller.name,
    email: caller.type === 'user' ? caller.user.email : null,
    role: caller.type === 'api' ? caller.role : null,
    organization: caller.type === 'owner' || caller.type === 'user' ? null : caller.organization.name,
    /** Of a person: where he is, and as what. */
    organizations: caller.type === 'user' ? caller.memberships.map(({ name, role }) => ({ name, role })) : [],
    workflow: isJob(caller) ? caller.workflow.name : null,
    project: isJob(caller) ? caller.workflow.project : null,
    identity: isJob(caller) ? caller.identity : null,
    expiresAt: caller.expiresAt?.toISOString() ?? null,
  })),
});
