import { desc, eq, sql } from 'drizzle-orm';
import { ChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, SystemScope } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { casBackends, organizations } from './schema.ts';
import { found, refusing } from './violation.ts';

export type OrganizationRow = typeof organizations.$inferSelect;

/** Where the bytes of a new organization go, until it says otherwise: its first CAS backend, the default one. */
export type FirstBackend = { readonly name: string; readonly provider: 'layout' | 'oci'; readonly location: string };

/** Makes an organization, with its first CAS backend. Throws ALREADY_EXISTS. */
export function createOrganization(
  system: SystemScope,
  { name, backend }: { readonly name: string; readonly backend: FirstBackend },
): Promise<OrganizationRow> {
  return refusing(
    { organizations_name_key: () => new ChainloopError('ALREADY_EXISTS', `organization '${name}' exists already; choose another name`) },
    system.run(async (tx) => {
      const [row] = await tx.insert(organizations).values({ name }).returning();
      const organization = found(row, `organization '${name}'`);
      await tx
        .insert(casBackends)
        .values({ ...backend, organizationId: organization.id, isDefault: true, status: 'ok', validatedAt: sql`now()` });
      return organization;
    }),
  );
}

/** All organizations, newest first. Throws USAGE for a malformed cursor. */
export async function listOrganizations(system: SystemScope, page: Page): Promise<Paged<OrganizationRow>> {
  const rows = await system.read((tx) =>
    tx
      .select({ row: organizations, at: position(organizations) })
      .from(organizations)
      .where(after(organizations, page.cursor))
      .orderBy(desc(organizations.createdAt), desc(organizations.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** The organization of that name, or undefined. */
export async function findOrganization(system: SystemScope, name: string): Promise<OrganizationRow | undefined> {
  const [row] = await system.read((tx) => tx.select().from(organizations).where(eq(organizations.name, name)));
  return row;
}

/** The one organization of an instance that has no other, or undefined. */
export async function onlyOrganization(system: SystemScope): Promise<OrganizationRow | undefined> {
  const [row, ...others] = await system.read((tx) => tx.select().from(organizations).limit(2));
  return others.length === 0 ? row : undefined;
}

/** The scope's own organization. Throws NOT_FOUND. */
export async function describeOrganization(scope: OrgScope): Promise<OrganizationRow> {
  const [row] = await scope.read((tx) => tx.select().from(organizations).where(eq(organizations.id, scope.organizationId)));
  return found(row, 'organization');
}
