import { and, desc, eq, isNull, sql } from 'drizzle-orm';
import type { Contract } from '../core/contract.ts';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { contractRevisions, contracts, projects, workflows } from './schema.ts';
import { found, refusing } from './violation.ts';

export type ContractRow = typeof contracts.$inferSelect;
/** A revision with the contract that it is of. `id` and `name` are the contract's; `createdAt` the revision's. */
export type RevisionRow = {
  readonly id: string;
  readonly name: string;
  readonly latestRevision: number;
  readonly revisionId: string;
  readonly revision: number;
  readonly format: 'yaml' | 'json' | 'cue';
  readonly body: string;
  readonly content: Contract;
  readonly contentDigest: Digest;
  readonly createdAt: Date;
};
/** What a revision says; `contentDigest` is contractDigest(content). */
export type RevisionContent = Pick<RevisionRow, 'format' | 'body' | 'content' | 'contentDigest'>;

/** Makes a contract with revision 1. Throws ALREADY_EXISTS. */
export function createContract(scope: OrgScope, name: string, content: RevisionContent): Promise<RevisionRow> {
  return refusing(
    {
      contracts_name_key: () =>
        new ChainloopError('ALREADY_EXISTS', `contract '${name}' exists already; change it with: chainloop workflow contract update`),
    },
    scope.run((tx) => insertContract(tx, scope, name, content)),
  );
}

/** As createContract, within a transaction. */
export async function insertContract(tx: Tx, scope: OrgScope, name: string, content: RevisionContent): Promise<RevisionRow> {
  const { organizationId } = scope;
  const [contract] = await tx.insert(contracts).values({ organizationId, name }).returning();
  const { id } = found(contract, `contract '${name}'`);
  await tx.insert(contractRevisions).values({ organizationId, contractId: id, revision: 1, ...content });
  return selectRevision(tx, scope, name);
}

/**
 * Adds a revision, if the content differs from the latest one: `changed` says so. Two at once become two revisions, since the
 * contract's row is locked. Throws NOT_FOUND.
 */
export function addRevision(scope: OrgScope, name: string, content: RevisionContent): Promise<RevisionRow & { readonly changed: boolean }> {
  return scope.run(async (tx) => {
    await tx.select({ id: contracts.id }).from(contracts).where(live(scope, name)).for('update');
    const latest = await selectRevision(tx, scope, name);
    if (latest.contentDigest === content.contentDigest) return { ...latest, changed: false };
    const revision = latest.revision + 1;
    await tx.insert(contractRevisions).values({ organizationId: scope.organizationId, contractId: latest.id, revision, ...content });
    await tx.update(contracts).set({ latestRevision: revision, updatedAt: sql`now()` }).where(eq(contracts.id, latest.id));
    return { ...(await selectRevision(tx, scope, name)), changed: true };
  });
}

/** Contracts, newest first, each with the `project/workflow` names bound to it. Throws USAGE for a malformed cursor. */
export async function listContracts(scope: OrgScope, page: Page): Promise<Paged<ContractRow & { readonly workflows: readonly string[] }>> {
  // Written out: in a select from one table, drizzle leaves the tables of columns away, and every id would be the contract's.
  const bound = sql<string[]>`array(select p.name || '/' || w.name from workflows w join projects p on p.id = w.project_id
    where w.contract_id = contracts.id and w.deleted_at is null order by 1)`;
  const rows = await scope.read((tx) =>
    tx
      .select({ row: contracts, at: position(contracts), bound })
      .from(contracts)
      .where(and(eq(contracts.organizationId, scope.organizationId), isNull(contracts.deletedAt), after(contracts, page.cursor)))
      .orderBy(desc(contracts.createdAt), desc(contracts.id))
      .limit(page.limit + 1),
  );
  return paged(
    rows.map(({ row, at, bound: names }) => ({ row: { ...row, workflows: names }, at })),
    page,
    (row) => row,
  );
}

/** One revision, the latest unless said otherwise. Throws NOT_FOUND. */
export function describeContract(scope: OrgScope, name: string, revision?: number): Promise<RevisionRow> {
  return scope.read((tx) => selectRevision(tx, scope, name, revision));
}

/** Removes a contract; its revisions stay for the runs that they judged. Throws NOT_FOUND, and CONFLICT while workflows use it. */
export function removeContract(scope: OrgScope, name: string): Promise<void> {
  return scope.run(async (tx) => {
    const [contract] = await tx.select({ id: contracts.id }).from(contracts).where(live(scope, name)).for('update');
    const { id } = found(contract, `contract '${name}'`);
    const users = await tx
      .select({ name: workflows.name, project: projects.name })
      .from(workflows)
      .innerJoin(projects, eq(projects.id, workflows.projectId))
      .where(and(eq(workflows.contractId, id), isNull(workflows.deletedAt)))
      .limit(3);
    if (users.length > 0) {
      const some = users.map((user) => `${user.project}/${user.name}`).join(', ');
      throw new ChainloopError('CONFLICT', `contract '${name}' is used by workflows (${some}); give them another contract first`);
    }
    await tx.update(contracts).set({ deletedAt: sql`now()` }).where(eq(contracts.id, id));
  });
}

/** The contract's id, locked against removal until the transaction ends. Throws NOT_FOUND. */
export async function lockContract(tx: Tx, scope: OrgScope, name: string): Promise<string> {
  const [row] = await tx.select({ id: contracts.id }).from(contracts).where(live(scope, name)).for('share');
  return found(row, `contract '${name}'`).id;
}

async function selectRevision(tx: Tx, scope: OrgScope, name: string, revision?: number): Promise<RevisionRow> {
  const [row] = await tx
    .select({
      id: contracts.id,
      name: contracts.name,
      latestRevision: contracts.latestRevision,
      revisionId: contractRevisions.id,
      revision: contractRevisions.revision,
      format: contractRevisions.format,
      body: contractRevisions.body,
      content: contractRevisions.content,
      contentDigest: contractRevisions.contentDigest,
      createdAt: contractRevisions.createdAt,
    })
    .from(contracts)
    .innerJoin(contractRevisions, eq(contractRevisions.contractId, contracts.id))
    .where(and(live(scope, name), eq(contractRevisions.revision, revision ?? contracts.latestRevision)));
  return found(row, revision === undefined ? `contract '${name}'` : `contract '${name}' revision ${revision}`);
}

function live(scope: OrgScope, name: string) {
  return and(eq(contracts.organizationId, scope.organizationId), eq(contracts.name, name), isNull(contracts.deletedAt));
}
