import { type CreatedToken, wire } from '../../core/wire.ts';
import { createToken, listTokens, revokeToken } from '../../db/tokens.ts';
import { describeWorkflow } from '../../db/workflows.ts';
import { expiryOf, tokenView } from '../token-view.ts';
import { makeToken } from '../tokens.ts';
import { admin, router, viewer } from '../trpc.ts';

export const serviceAccounts = router({
  /** A token that may attest this one workflow. The only answer that carries it. */
  create: admin.input(wire.serviceAccountCreate).mutation(async ({ ctx: { scope, services }, input }): Promise<CreatedToken> => {
    const { id: workflowId } = await describeWorkflow(scope, { name: input.workflow, project: input.project });
    const { token, hash } = makeToken('service-account');
    const expiresAt = expiryOf(services.now(), input.expiresInDays);
    return { ...tokenView(await createToken(scope, { name: input.name, hash, expiresAt, workflowId })), token };
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listTokens(scope, 'service-account', input);
    return { items: items.map(tokenView), nextCursor };
  }),
  /** From the next request on, on every server. */
  revoke: admin
    .input(wire.byId)
    .mutation(async ({ ctx: { scope, services }, input }) =>
      tokenView(await revokeToken(scope, 'service-account', input.id, services.now())),
    ),
});
