import { type CreatedToken, wire } from '../../core/wire.ts';
import { createToken, listTokens, revokeToken } from '../../db/tokens.ts';
import { expiryOf, tokenView } from '../token-view.ts';
import { makeToken } from '../tokens.ts';
import { operator, router } from '../trpc.ts';

export const apiTokens = router({
  /** The only answer that carries the token. */
  create: operator.input(wire.tokenCreate).mutation(async ({ ctx: { scope, services }, input }): Promise<CreatedToken> => {
    const { token, hash } = makeToken('api');
    const expiresAt = expiryOf(services.now(), input.expiresInDays);
    return { ...tokenView(await createToken(scope, { name: input.name, hash, expiresAt })), token };
  }),
  list: operator.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listTokens(scope, 'api', input);
    return { items: items.map(tokenView), nextCursor };
  }),
  /** From the next request on, on every server. */
  revoke: operator
    .input(wire.byId)
    .mutation(async ({ ctx: { scope, services }, input }) => tokenView(await revokeToken(scope, 'api', input.id, services.now()))),
});
