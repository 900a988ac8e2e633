import { parsePublicKey } from '../../core/key.ts';
import { type PublicKeyView, wire } from '../../core/wire.ts';
import { createKey, listKeys, type PublicKeyRow, removeKey } from '../../db/keys.ts';
import { admin, router, viewer } from '../trpc.ts';

export const keys = router({
  /** From now on, attestations signed by this key are accepted. */
  trust: admin.input(wire.keyTrust).mutation(async ({ ctx: { scope }, input }) => {
    const { hint, type, pem } = parsePublicKey(input.pem);
    return view(await createKey(scope, { name: input.name, hint, type, pem }));
  }),
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listKeys(scope, input);
    return { items: items.map(view), nextCursor };
  }),
  /** Runs that it signed are shown as not verified afterwards. */
  remove: admin.input(wire.byName).mutation(async ({ ctx: { scope }, input }) => view(await removeKey(scope, input.name))),
});

function view({ id, name, hint, type, pem, createdAt }: PublicKeyRow): PublicKeyView {
  return { id, name, hint, type, pem, createdAt: createdAt.toISOString() };
}
