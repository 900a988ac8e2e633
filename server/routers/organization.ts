import { type OrganizationView, wire } from '../../core/wire.ts';
import { createOrganization, describeOrganization, listOrganizations, type OrganizationRow } from '../../db/organizations.ts';
import { auditActor } from '../audit-actor.ts';
import { instanceOwner, router, viewer } from '../trpc.ts';

export const organizations = router({
  /** An organization, with a folder on the server's disk as its first CAS backend. */
  create: instanceOwner.input(wire.organizationCreate).mutation(async ({ ctx: { services, caller }, input: { name } }) => {
    const backend = services.storages.firstBackend(name);
    return view(await createOrganization(services.database.systemAs(auditActor(caller)), { name, backend }));
  }),
  list: instanceOwner.input(wire.page).query(async ({ ctx: { services }, input }) => {
    const { items, nextCursor } = await listOrganizations(services.database.system, input);
    return { items: items.map(view), nextCursor };
  }),
  /** The organization that the caller acts in. */
  describe: viewer.query(async ({ ctx: { scope } }) => view(await describeOrganization(scope))),
});

function view({ id, name, createdAt }: OrganizationRow): OrganizationView {
  return { id, name, createdAt: createdAt.toISOString() };
}
