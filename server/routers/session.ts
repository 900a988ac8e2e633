import { ChainloopError } from '../../core/errors.ts';
import { people } from '../../core/people.ts';
import { endSessions } from '../../db/sessions.ts';
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
  /** From the next request on, on every server. */
  end: person.input(people.end).mutation(async ({ ctx: { caller, services }, input }) => {
    const which = input.everywhere ? { userId: caller.user.id } : { id: caller.tokenId };
    return { ended: await endSessions(services.database.systemAs(auditActor(caller)), which, services.now()) };
  }),
});

function loginOf({ login }: Services): Login {
  if (login !== undefined) return login;
  throw new ChainloopError(
    'LOGIN_UNSUPPORTED',
    'login: this control plane has no OpenID provider (chainloop server --oidc-issuer); use a token: chainloop auth login --token-file FILE',
  );
}
