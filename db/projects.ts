import { and, desc, eq, type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { projects } from './schema.ts';
import { found } from './violation.ts';

export type ProjectRow = typeof projects.$inferSelect;

/** Projects, newest first. Throws USAGE for a malformed cursor. */
export async function listProjects(scope: OrgScope, page: Page): Promise<Paged<ProjectRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: projects, at: position(projects) })
      .from(projects)
      .where(and(eq(projects.organizationId, scope.organizationId), after(projects, page.cursor)))
      .orderBy(desc(projects.createdAt), desc(projects.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** The project's id; it is made when it is not there. Two at once get the same one. */
export async function ensureProject(tx: Tx, scope: OrgScope, name: string): Promise<string> {
  const { organizationId } = scope;
  const [made] = await tx.insert(projects).values({ organizationId, name }).onConflictDoNothing().returning({ id: projects.id });
  if (made !== undefined) return made.id;
  const [row] = await tx
    .select({ id: projects.id })
    .from(projects)
    .where(and(eq(projects.organizationId, organizationId), eq(projects.name, name)));
  return found(row, `project '${name}'`).id;
}

/** The id of the project of that name, within a query; null when there is none. */
export function projectNamed(organizationId: string | Placeholder, name: string | Placeholder): SQL {
  return sql`(select ${projects.id} from ${projects} where ${projects.organizationId} = ${organizationId} and ${projects.name} = ${name})`;
}
