import { ChainloopError } from '../../core/errors.ts';
import { mayAct } from '../../core/roles.ts';
import { type CreatedToken, wire } from '../../core/wire.ts';
import { createToken, listTokens, revokeToken } from '../../db/tokens.ts';
import { expiryOf, tokenView } from '../token-view.ts';
import { makeToken } from '../tokens.ts';
import { admin, router, viewer } from '../trpc.ts';

export const apiTokens = router({
  /** The only answer that carries the token. Nobody makes one that may do more than he may. */
  create: admin.input(wire.tokenCreate).mutation(async ({ ctx: { scope, services, role }, input }): Promise<CreatedToken> => {
    if (!mayAct(role, input.role))
      throw new ChainloopError('FORBIDDEN', `API token: who is ${role} makes none with the role ${input.role}`);
    const { token, hash } = makeToken('api');
    const expiresAt = expiryOf(services.now(), input.expiresInDays);
    return { ...tokenView(await createToken(scope, { name: input.name, hash, expiresAt, role: input.role })), token };
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listTokens(scope, 'api', input);
    return { items: items.map(tokenView), nextCursor };
  }),
  /** From the next request on, on every server. */
  revoke: admin
    .input(wire.byId)
    .mutation(async ({ ctx: { scope, services }, input }) => tokenView(await revokeToken(scope, 'api', input.id, services.now()))),
});
