import { ChainloopError } from '../../core/errors.ts';
import { type OpenSessionView, people } from '../../core/people.ts';
import { wire } from '../../core/wire.ts';
import { endSessions, listSessions, type OpenSessionRow } from '../../db/sessions.ts';
import { sessionEnd } from '../actor.ts';
import { auditActor } from '../audit-actor.ts';
import type { Login } from '../login/login.ts';
import { anyone, person, router, type Services } from '../trpc.ts';

export const sessions = router({
  /** Where to send a browser, so that a person logs in with the provider. */
  begin: anyone.input(people.begin).mutation(({ ctx, input }) => loginOf(ctx.services).begin(input)),
  /** A session for the code that the browser came back with. */
  finish: anyone.input(people.finish).mutation(({ ctx, input }) => loginOf(ctx.services).finish(input)),
  /** Where a person goes with another device. */
  device: anyone.input(people.device).mutation(({ ctx }) => loginOf(ctx.services).device()),
  /** A session, once the person was there. */
  poll: anyone.input(people.poll).mutation(({ ctx, input }) => loginOf(ctx.services).poll(input)),
  /** Where the person is logged in. */
  list: person.input(wire.page).query(async ({ ctx: { caller, services }, input }) => {
    const [now, idleMs] = [services.now(), services.login?.sessionIdleMs];
    const usedSince = idleMs === undefined ? undefined : new Date(now.getTime() - idleMs);
    const { items, nextCursor } = await listSessions(services.database.system, caller.user.id, { now, usedSince }, input);
    return { items: items.map((row) => view(row, sessionEnd(row, idleMs), row.id === caller.tokenId)), nextCursor };
  }),
  /** From the next request on, on every server. NOT_FOUND for a session that is not the person's, or has ended. */
  end: person.input(people.end).mutation(async ({ ctx: { caller, services }, input }) => {
    const userId = caller.user.id;
    const which = input.everywhere ? { userId } : { userId, id: input.id ?? caller.tokenId };
    const ended = await endSessions(services.database.systemAs(auditActor(caller)), which, services.now());
    if (ended === 0 && input.id !== undefined) throw new ChainloopError('NOT_FOUND', `session ${input.id}: not one of yours that is open`);
    return { ended };
  }),
});

function view({ id, createdAt, lastUsedAt }: OpenSessionRow, endsAt: Date, isCurrent: boolean): OpenSessionView {
  return {
    id,
    createdAt: createdAt.toISOString(),
    lastUsedAt: lastUsedAt.toISOString(),
    expiresAt: endsAt.toISOString(),
    isCurrent,
  };
}

function loginOf({ login }: Services): Login {
  if (login !== undefined) return login;
  throw new ChainloopError(
    'LOGIN_UNSUPPORTED',
    'login: this control plane has no OpenID provider (chainloop server --oidc-issuer); use a token: chainloop auth login --token-file FILE',
  );
}
