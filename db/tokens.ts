import { and, desc, eq, getTableColumns, isNull, sql } from 'drizzle-orm';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { TokenRole } from '../core/roles.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, SystemScope } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { organizations, projects, tokens, workflows } from './schema.ts';
import { found, refusing } from './violation.ts';

/** A token, without what it is. `hash` is the SHA-256 of it. */
export type TokenRow = typeof tokens.$inferSelect & { readonly workflow: string | null; readonly project: string | null };
/** A token as the server meets it: with its organization's name, and whether its workflow was removed. */
export type Credential = TokenRow & { readonly organization: string | null };

export type NewToken = { readonly name: string; readonly hash: Digest; readonly expiresAt: Date | null };

/** Keeps the owner token of the instance. Throws ALREADY_EXISTS when that very token is there. */
export async function createOwnerToken(system: SystemScope, token: NewToken): Promise<void> {
  await refusing(
    { tokens_hash_key: () => new ChainloopError('ALREADY_EXISTS', 'owner token: known already') },
    system.run((tx) => tx.insert(tokens).values({ ...token, kind: 'owner' })),
  );
}

/** Whether the instance has an owner token that still works. */
export async function hasOwnerToken(system: SystemScope): Promise<boolean> {
  const rows = await system.read((tx) =>
    tx
      .select({ id: tokens.id })
      .from(tokens)
      .where(and(eq(tokens.kind, 'owner'), isNull(tokens.revokedAt)))
      .limit(1),
  );
  return rows.length > 0;
}

/**
 * Keeps a token: with a workflow a service account's, with a role an API token. Throws ALREADY_EXISTS while one of that name is
 * not revoked, NOT_FOUND for a workflow of nobody or of somebody else.
 */
export function createToken(
  scope: OrgScope,
  token: NewToken & ({ readonly workflowId: string } | { readonly role: TokenRole }),
): Promise<TokenRow> {
  const { organizationId } = scope;
  const { name, hash, expiresAt } = token;
  const what =
    'role' in token ? { kind: 'api' as const, role: token.role } : { kind: 'service-account' as const, workflowId: token.workflowId };
  const taken = (kind: string) => () =>
    new ChainloopError('ALREADY_EXISTS', `${kind} '${name}' exists already; revoke it first, or choose another name`);
  return refusing(
    {
      tokens_api_name_key: taken('API token'),
      tokens_service_account_name_key: taken('service account'),
      tokens_workflow: () => new ChainloopError('NOT_FOUND', 'workflow: not found in this organization'),
    },
    scope.run(async (tx) => {
      const [made] = await tx
        .insert(tokens)
        .values({ organizationId, name, hash, expiresAt, ...what })
        .returning({ id: tokens.id });
      const [row] = await tx
        .select(shape)
        .from(tokens)
        .leftJoin(workflows, eq(workflows.id, tokens.workflowId))
        .leftJoin(projects, eq(projects.id, workflows.projectId))
        .where(eq(tokens.id, found(made, `token '${name}'`).id));
      return found(row, `token '${name}'`);
    }),
  );
}

/** Tokens of one kind, newest first, also those that have ended. Throws USAGE for a malformed cursor. */
export async function listTokens(scope: OrgScope, kind: 'api' | 'service-account', page: Page): Promise<Paged<TokenRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: shape, at: position(tokens) })
      .from(tokens)
      .leftJoin(workflows, eq(workflows.id, tokens.workflowId))
      .leftJoin(projects, eq(projects.id, workflows.projectId))
      .where(and(eq(tokens.organizationId, scope.organizationId), eq(tokens.kind, kind), after(tokens, page.cursor)))
      .orderBy(desc(tokens.createdAt), desc(tokens.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** Ends a token of that kind, from the next request on. A second time changes nothing. Throws NOT_FOUND. */
export function revokeToken(scope: OrgScope, kind: 'api' | 'service-account', id: string, now: Date): Promise<TokenRow> {
  return scope.run(async (tx) => {
    const own = and(eq(tokens.organizationId, scope.organizationId), eq(tokens.kind, kind), eq(tokens.id, id));
    await tx
      .update(tokens)
      .set({ revokedAt: now })
      .where(and(own, isNull(tokens.revokedAt)));
    const [row] = await tx
      .select(shape)
      .from(tokens)
      .leftJoin(workflows, eq(workflows.id, tokens.workflowId))
      .leftJoin(projects, eq(projects.id, workflows.projectId))
      .where(own);
    return found(row, `token ${id}`);
  });
}

/** The token of that hash, in whatever state it is, or undefined. The caller judges expiry and revocation. */
export async function findToken(system: SystemScope, hash: Digest): Promise<Credential | undefined> {
  const [row] = await system.read((tx) =>
    tx
      .select({ ...shape, organization: sql<string | null>`${organizations.name}`.as('organization') })
      .from(tokens)
      .leftJoin(workflows, eq(workflows.id, tokens.workflowId))
      .leftJoin(projects, eq(projects.id, workflows.projectId))
      .leftJoin(organizations, eq(organizations.id, tokens.organizationId))
      .where(eq(tokens.hash, hash)),
  );
  return row;
}

/** Notes that a token was used. Once a minute is enough; the statement sees to that. */
export async function touchToken(system: SystemScope, id: string, now: Date): Promise<void> {
  const at = now.toISOString();
  await system.statement(
    'touch_token',
    sql`update tokens set last_used_at = ${at}::timestamptz
    where id = ${id}::uuid and (last_used_at is null or last_used_at < ${at}::timestamptz - interval '1 minute')`,
  );
}

const shape = {
  ...getTableColumns(tokens),
  workflow: sql<string | null>`${workflows.name}`.as('workflow'),
  project: sql<string | null>`${projects.name}`.as('project'),
};
