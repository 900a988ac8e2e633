import { ChainloopError } from '../../core/errors.ts';
import { type OrganizationView, wire } from '../../core/wire.ts';
import { createOrganization, describeOrganization, listOrganizations, type OrganizationRow } from '../../db/organizations.ts';
import { auditActor } from '../audit-actor.ts';
import { authenticated, instanceOwner, router, viewer } from '../trpc.ts';

const instanceOrPerson = authenticated.use(({ ctx, next }) => {
  if (ctx.caller.type === 'owner' || ctx.caller.type === 'user') return next();
  throw new ChainloopError('FORBIDDEN', 'this needs the owner token of the instance, or a person who is logged in');
});

export const organizations = router({
  /** An organization, with a folder on the server's disk as its first CAS backend. */
  create: instanceOwner.input(wire.organizationCreate).mutation(async ({ ctx: { services, caller }, input: { name } }) => {
    const backend = services.storages.firstBackend(name);
    return view(await createOrganization(services.database.systemAs(auditActor(caller)), { name, backend }));
  }),
  /** All, for the owner of the instance; those that he is in, for a person. */
  list: instanceOrPerson.input(wire.page).query(async ({ ctx: { services, caller }, input }) => {
    if (caller.type === 'user') {
      const scopes = caller.memberships.map(({ id }) => services.database.scope(id, auditActor(caller)));
      return { items: (await Promise.all(scopes.map(describeOrganization))).map(view) };
    }
    const { items, nextCursor } = await listOrganizations(services.database.system, input);
    return { items: items.map(view), nextCursor };
  }),
  /** The organization that the caller acts in. */
  describe: viewer.query(async ({ ctx: { scope } }) => view(await describeOrganization(scope))),
});

function view({ id, name, createdAt }: OrganizationRow): OrganizationView {
  return { id, name, createdAt: createdAt.toISOString() };
}
