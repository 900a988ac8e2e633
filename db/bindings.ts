import { and, count, desc, eq, getTableColumns, isNull, or, type SQL, sql } from 'drizzle-orm';
import type { Binding } from '../core/binding.ts';
import type { JobClaims } from '../core/claims.ts';
import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, SystemScope, Tx } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { organizations, projects, workflows } from './schema.ts';
import { bindings } from './trust-schema.ts';
import { found, refusing } from './violation.ts';

/** A binding with the names of what it lets jobs into. */
export type BindingRow = typeof bindings.$inferSelect & {
  readonly workflow: string;
  readonly project: string;
  readonly organization: string;
};

/**
 * Lets jobs in. Without ids it is pending until `pendingUntil`. Throws NOT_FOUND for a workflow of nobody or of somebody else,
 * ALREADY_EXISTS for one that lets in the very same jobs as another that was not removed, LIMIT_EXCEEDED beyond `limits.bindings`; those that are made at the same moment may go beyond it by a few.
 */
export function createBinding(
  scope: OrgScope,
  binding: Pick<
    Binding,
    'issuer' | 'repository' | 'ids' | 'refs' | 'environment' | 'events' | 'workflowRef' | 'jobWorkflowRef' | 'runnerEnvironment'
  > & {
    readonly workflowId: string;
    readonly pendingUntil: Date;
  },
): Promise<BindingRow> {
  const { ids, pendingUntil, ...rest } = binding;
  return refusing(
    { bindings_workflow: () => new ChainloopError('NOT_FOUND', 'workflow: not found in this organization') },
    scope.run(async (tx) => {
      const [there] = await tx
        .select({ count: count() })
        .from(bindings)
        .where(and(eq(bindings.organizationId, scope.organizationId), isNull(bindings.removedAt)));
      if ((there?.count ?? 0) >= limits.bindings) {
        throw new ChainloopError(
          'LIMIT_EXCEEDED',
          `binding: the organization has ${limits.bindings} already; remove one that no job needs with: chainloop binding rm`,
        );
      }
      const [same] = await tx
        .select({ id: bindings.id })
        .from(bindings)
        .where(and(eq(bindings.organizationId, scope.organizationId), isNull(bindings.removedAt), sameAs(binding)))
        .limit(1);
      if (same !== undefined) {
        throw new ChainloopError(
          'ALREADY_EXISTS',
          `binding: ${same.id} lets in the same jobs already; to replace it, first: chainloop binding rm --id ${same.id}`,
        );
      }
      const [made] = await tx
        .insert(bindings)
        .values({ ...rest, organizationId: scope.organizationId, ...(ids ?? { pendingUntil }) })
        .returning({ id: bindings.id });
      const id = found(made, 'binding').id;
      return found((await select(tx, eq(bindings.id, id)))[0]?.row, `binding ${id}`);
    }),
  );
}

/** Bindings that were not removed, newest first. Throws USAGE for a malformed cursor. */
export async function listBindings(scope: OrgScope, page: Page): Promise<Paged<BindingRow>> {
  const rows = await scope.read((tx) =>
    select(tx, and(eq(bindings.organizationId, scope.organizationId), isNull(bindings.removedAt), after(bindings, page.cursor)))
      .orderBy(desc(bindings.createdAt), desc(bindings.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** One binding that was not removed. Throws NOT_FOUND. */
export async function describeBinding(scope: OrgScope, id: string): Promise<BindingRow> {
  const [one] = await scope.read((tx) => select(tx, own(scope, id)));
  return found(one?.row, `binding ${id}`);
}

/** Lets jobs in no longer; the credentials that it gave end at once. Throws NOT_FOUND. */
export function removeBinding(scope: OrgScope, id: string, now: Date): Promise<BindingRow> {
  return scope.run(async (tx) => {
    const [one] = await select(tx, own(scope, id)).for('update', { of: bindings });
    const { row } = found(one, `binding ${id}`);
    await tx.update(bindings).set({ removedAt: now }).where(own(scope, id));
    return row;
  });
}

/**
 * The bindings of the named organization that a token may be about: those of its very owner id, and those that are pending under the name
 * of its repository. What other organizations bind is never looked at: anybody may bind any repository.
 */
export async function bindingsFor(
  system: SystemScope,
  claims: Pick<JobClaims, 'issuer' | 'ownerId' | 'repository'>,
  organization: string,
  now: Date,
): Promise<readonly BindingRow[]> {
  const { issuer, ownerId, repository } = claims;
  const pending = and(
    isNull(bindings.repositoryId),
    sql`lower(repository) = ${repository.toLowerCase()}`,
    sql`${bindings.pendingUntil} > ${now.toISOString()}::timestamptz`,
  );
  const rows = await system.read((tx) =>
    select(
      tx,
      and(
        eq(bindings.issuer, issuer),
        isNull(bindings.removedAt),
        isNull(workflows.deletedAt),
        or(eq(bindings.ownerId, ownerId), pending),
        eq(organizations.name, organization),
      ),
    )
      // Those with ids first, then the oldest: which one lets a job in does not depend on chance.
      .orderBy(sql`${bindings.repositoryId} is null`, bindings.createdAt, bindings.id),
  );
  return rows.map(({ row }) => row);
}

/** Says the same, key for key. A pending one that has expired counts too: it is removed first. */
function sameAs(binding: Parameters<typeof createBinding>[1]): SQL | undefined {
  const optional = [
    [bindings.repositoryId, binding.ids?.repositoryId],
    [bindings.ownerId, binding.ids?.ownerId],
    [bindings.environment, binding.environment],
    [bindings.workflowRef, binding.workflowRef],
    [bindings.jobWorkflowRef, binding.jobWorkflowRef],
    [bindings.runnerEnvironment, binding.runnerEnvironment],
  ] as const;
  return and(
    eq(bindings.workflowId, binding.workflowId),
    eq(bindings.issuer, binding.issuer),
    eq(bindings.repository, binding.repository),
    eq(bindings.refs, binding.refs),
    eq(bindings.events, binding.events),
    ...optional.map(([column, value]) => (value === undefined ? isNull(column) : eq(column, value))),
  );
}

function own(scope: OrgScope, id: string): SQL | undefined {
  return and(eq(bindings.organizationId, scope.organizationId), eq(bindings.id, id), isNull(bindings.removedAt));
}

function select(tx: Tx, which: SQL | undefined) {
  return tx
    .select({
      row: {
        ...getTableColumns(bindings),
        workflow: sql<string>`${workflows.name}`.as('workflow'),
        project: sql<string>`${projects.name}`.as('project'),
        organization: sql<string>`${organizations.name}`.as('organization'),
      },
      at: position(bindings),
    })
    .from(bindings)
    .innerJoin(workflows, eq(workflows.id, bindings.workflowId))
    .innerJoin(projects, eq(projects.id, workflows.projectId))
    .innerJoin(organizations, eq(organizations.id, bindings.organizationId))
    .where(which);
}
