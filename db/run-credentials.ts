import { and, eq, gt, isNull, lt, or, sql } from 'drizzle-orm';
import type { JobClaims } from '../core/claims.ts';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { SystemScope } from './client.ts';
import { organizations, projects, workflows } from './schema.ts';
import { bindings, runCredentials, usedTokens } from './trust-schema.ts';

/** A run credential as the server meets it. `removed`: its binding or its workflow is gone, and the credential with it. */
export type RunCredentialRow = {
  readonly id: string;
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

export type NewRunCredential = {
  /** Of the token that is exchanged, and until when it would be good. */
  readonly use: Digest;
  readonly usedUntil: Date;
  readonly binding: { readonly id: string; readonly organizationId: string };
  readonly claims: JobClaims;
  readonly naturalKey: string;
  readonly hash: Digest;
  readonly expiresAt: Date;
  readonly now: Date;
};

/**
 * Uses up a token and keeps the credential for it, both or neither; a pending binding gets its ids by the same transaction. `used`: the
 * token was exchanged before. Throws CONFLICT when the binding is no longer what it was: removed, or fixed to somebody else.
 */
export function issueRunCredential(system: SystemScope, made: NewRunCredential): Promise<'issued' | 'used'> {
  const { use, usedUntil, binding, claims, naturalKey, hash, expiresAt, now } = made;
  const { repository, repositoryId, ownerId } = claims;
  return system.run(async (tx) => {
    const first = await tx
      .insert(usedTokens)
      .values({ digest: use, expiresAt: usedUntil })
      .onConflictDoNothing()
      .returning({ expiresAt: usedTokens.expiresAt });
    if (first.length === 0) return 'used';
    const still = await tx
      .update(bindings)
      .set({
        repository,
        repositoryId,
        ownerId,
        fixedAt: sql`coalesce(${bindings.fixedAt}, ${now.toISOString()}::timestamptz)`,
        lastUsedAt: now,
      })
      .where(
        and(
          eq(bindings.id, binding.id),
          isNull(bindings.removedAt),
          or(
            and(eq(bindings.repositoryId, repositoryId), eq(bindings.ownerId, ownerId)),
            and(isNull(bindings.repositoryId), gt(bindings.pendingUntil, now)),
          ),
        ),
      )
      .returning({ id: bindings.id });
    // Thrown, so that the token is not used up.
    if (still.length === 0) throw new ChainloopError('CONFLICT', `binding ${binding.id}: it was changed at this moment; try again`);
    await tx
      .insert(runCredentials)
      .values({ organizationId: binding.organizationId, bindingId: binding.id, hash, claims, naturalKey, expiresAt });
    return 'issued';
  });
}

/** Forgets credentials and used tokens that expired before then: an expired token is refused for that alone. */
export function forgetExpired(system: SystemScope, before: Date): Promise<void> {
  return system.run(async (tx) => {
    await tx.delete(usedTokens).where(lt(usedTokens.expiresAt, before));
    await tx.delete(runCredentials).where(lt(runCredentials.expiresAt, before));
  });
}
