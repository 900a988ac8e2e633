import { wire } from '../../core/wire.ts';
import { listProjects } from '../../db/projects.ts';
import { router, viewer } from '../trpc.ts';

export const projects = router({
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listProjects(scope, input);
    return { items: items.map(({ id, name, createdAt }) => ({ id, name, createdAt: createdAt.toISOString() })), nextCursor };
  }),
});
