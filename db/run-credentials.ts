import { and, eq, lt, sql } from 'drizzle-orm';
import type { JobClaims } from '../core/claims.ts';
import type { Digest } from '../core/digest.ts';
import type { SystemScope } from './client.ts';
import { organizations, projects, workflows } from './schema.ts';
import { bindings, runCredentials, usedTokens } from './trust-schema.ts';

/** A run credential as the server meets it. `removed`: its binding or its workflow is gone, and the credential with it. */
export type RunCredentialRow = {
  readonly id: string;
  readonly bindingId: string;
  readonly claims: JobClaims;
  readonly naturalKey: string;
  readonly expiresAt: Date;
  readonly organization: { readonly id: string; readonly name: string };
  readonly workflow: { readonly id: string; readonly name: string; readonly project: string };
  readonly removed: boolean;
};

/** The run credential of that hash, in whatever state it is, or undefined. The caller judges expiry and removal. */
export async function findRunCredential(system: SystemScope, hash: Digest): Promise<RunCredentialRow | undefined> {
  const [row] = await system.read((tx) =>
    tx
      .select({
        id: runCredentials.id,
        bindingId: runCredentials.bindingId,
        claims: runCredentials.claims,
        naturalKey: runCredentials.naturalKey,
        expiresAt: runCredentials.expiresAt,
        organization: { id: organizations.id, name: sql<string>`${organizations.name}`.as('organization') },
        workflow: {
          id: sql<string>`${workflows.id}`.as('workflow_id'),
          name: sql<string>`${workflows.name}`.as('workflow'),
          project: sql<string>`${projects.name}`.as('project'),
        },
        removed: sql<boolean>`${bindings.removedAt} is not null or ${workflows.deletedAt} is not null`.as('removed'),
      })
      .from(runCredentials)
      .innerJoin(bindings, and(eq(bindings.organizationId, runCredentials.organizationId), eq(bindings.id, runCredentials.bindingId)))
      .innerJoin(workflows, eq(workflows.id, bindings.workflowId))
      .innerJoin(projects, eq(projects.id, workflows.projectId))
      .innerJoin(organizations, eq(organizations.id, runCredentials.organizationId))
      .where(eq(runCredentials.hash, hash)),
  );
  return row;
}

/** Forgets credentials and used tokens that expired before then: an expired token is refused for that alone. */
export function forgetExpired(system: SystemScope, before: Date): Promise<void> {
  return system.run(async (tx) => {
    await tx.delete(usedTokens).where(lt(usedTokens.expiresAt, before));
    await tx.delete(runCredentials).where(lt(runCredentials.expiresAt, before));
  });
}
