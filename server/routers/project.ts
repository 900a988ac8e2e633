import { wire } from '../../core/wire.ts';
import { listProjects } from '../../db/projects.ts';
import { operator, router } from '../trpc.ts';

export const projects = router({
  list: operator.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listProjects(scope, input);
    return { items: items.map(({ id, name, createdAt }) => ({ id, name, createdAt: createdAt.toISOString() })), nextCursor };
  }),
});
