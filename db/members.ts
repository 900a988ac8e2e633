import { and, desc, eq, gt, sql } from 'drizzle-orm';
import type { Digest } from '../core/digest.ts';
import { ChainloopError } from '../core/errors.ts';
import type { Made } from '../core/people.ts';
import type { Role } from '../core/roles.ts';
import type { Paged } from '../core/wire.ts';
import type { OrgScope, Tx } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { invitations, members, users } from './people-schema.ts';
import { found } from './violation.ts';

/** A member, with who that is. */
export type MemberRow = typeof members.$inferSelect &
  Pick<typeof users.$inferSelect, 'name' | 'email' | 'issuer' | 'subject' | 'lastLoginAt'>;
export type InvitationRow = typeof invitations.$inferSelect;

const who = { name: users.name, email: users.email, issuer: users.issuer, subject: users.subject, lastLoginAt: users.lastLoginAt };
const { id, organizationId, userId, role, createdAt } = members;
const shape = { id, organizationId, userId, role, createdAt, ...who };

/** The members of the organization, newest first. Throws USAGE for a malformed cursor. */
export async function listMembers(scope: OrgScope, page: Page): Promise<Paged<MemberRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: shape, at: position(members) })
      .from(members)
      .innerJoin(users, eq(users.id, members.userId))
      .where(and(eq(members.organizationId, scope.organizationId), after(members, page.cursor)))
      .orderBy(desc(members.createdAt), desc(members.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** Gives a member another role, from the next request on. Throws NOT_FOUND, CONFLICT for the last owner. */
export function setMemberRole(scope: OrgScope, member: string, newRole: Role): Promise<MemberRow> {
  return scope.run(async (tx) => {
    if (newRole !== 'owner') await keepAnOwner(tx, scope, member);
    const own = and(eq(members.organizationId, scope.organizationId), eq(members.id, member));
    await tx.update(members).set({ role: newRole }).where(own);
    return describe(tx, scope, member);
  });
}

/** Ends a membership, from the next request on. Throws NOT_FOUND, CONFLICT for the last owner. */
export function removeMember(scope: OrgScope, member: string): Promise<MemberRow> {
  return scope.run(async (tx) => {
    await keepAnOwner(tx, scope, member);
    const row = await describe(tx, scope, member);
    await tx.delete(members).where(and(eq(members.organizationId, scope.organizationId), eq(members.id, member)));
    return row;
  });
}

/**
 * What a person has made in the organization that goes on without him, himself or by tokens that he made, by the audit log: tokens that work, and
 * invitations that can be taken. The first 100.
 */
export function listMadeBy(scope: OrgScope, user: string, now: Date): Promise<Made[]> {
  const [own, at] = [sql`${scope.organizationId}::uuid`, sql`${now.toISOString()}::timestamptz`];
  return scope.rows(sql`with recursive acts as materialized (
      select actor_id, details->>'id' as id from audit_log
      where org_id = ${own} and action in ('api-token.create', 'service-account.create', 'invitation.create', 'invitation.renew')
    ), made (id) as (select ${user}::text union select acts.id from acts join made on acts.actor_id = made.id)
    select m.kind, m.id, m.name, m.needs
    from (
      select case kind when 'api' then 'api-token' else kind end as kind, id::text, name, case kind when 'api' then coalesce(role, 'admin') else 'attest' end as needs
      from tokens where org_id = ${own} and revoked_at is null and (expires_at is null or expires_at > ${at})
      union all select 'invitation', id::text, email, 'owner' from invitations where org_id = ${own} and expires_at > ${at}
    ) m join made on made.id = m.id
    order by 1, 3, 2 limit 100`);
}

/** Owners that change each other at the same moment wait here for one another, so that the last one stays. */
async function keepAnOwner(tx: Tx, { organizationId: own }: OrgScope, member: string): Promise<void> {
  const owners = await tx
    .select({ id: members.id })
    .from(members)
    .where(and(eq(members.organizationId, own), eq(members.role, 'owner')))
    .orderBy(members.id)
    .for('update');
  if (owners.length === 1 && owners[0]?.id === member) {
    throw new ChainloopError('CONFLICT', 'member: this is the last owner of the organization; make somebody else an owner first');
  }
}

async function describe(tx: Tx, { organizationId: own }: OrgScope, member: string): Promise<MemberRow> {
  const [row] = await tx
    .select(shape)
    .from(members)
    .innerJoin(users, eq(users.id, members.userId))
    .where(and(eq(members.organizationId, own), eq(members.id, member)));
  return found(row, `member ${member}`);
}

export type NewInvitation = Pick<InvitationRow, 'email' | 'role' | 'hash' | 'expiresAt'>;

/** Invites an e-mail address; an invitation of the same address is replaced, and its code with it. */
export async function createInvitation(scope: OrgScope, invitation: NewInvitation): Promise<InvitationRow> {
  const { email, ...renewed } = invitation;
  const [row] = await scope.run((tx) =>
    tx
      .insert(invitations)
      .values({ ...invitation, organizationId: scope.organizationId })
      .onConflictDoUpdate({ target: [invitations.organizationId, invitations.email], set: { ...renewed, createdAt: sql`now()` } })
      .returning(),
  );
  return found(row, `invitation of ${email}`);
}

/** Invitations that nobody has taken, newest first, also those that have expired. Throws USAGE for a malformed cursor. */
export async function listInvitations(scope: OrgScope, page: Page): Promise<Paged<InvitationRow>> {
  const rows = await scope.read((tx) =>
    tx
      .select({ row: invitations, at: position(invitations) })
      .from(invitations)
      .where(and(eq(invitations.organizationId, scope.organizationId), after(invitations, page.cursor)))
      .orderBy(desc(invitations.createdAt), desc(invitations.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** Takes an invitation back. Throws NOT_FOUND. */
export async function removeInvitation(scope: OrgScope, invitation: string): Promise<InvitationRow> {
  const own = and(eq(invitations.organizationId, scope.organizationId), eq(invitations.id, invitation));
  const [row] = await scope.run((tx) => tx.delete(invitations).where(own).returning());
  return found(row, `invitation ${invitation}`);
}

/**
 * Makes the user a member, by an invitation that is used up by it; whoever is one already stays what he is. False: somebody else took it at
 * the same moment, or it was taken back.
 */
export function acceptInvitation(scope: OrgScope, accepted: { readonly hash: Digest; readonly userId: string; readonly now: Date }) {
  return scope.run(async (tx) => {
    const own = and(eq(invitations.organizationId, scope.organizationId), eq(invitations.hash, accepted.hash));
    const [taken] = await tx
      .delete(invitations)
      .where(and(own, gt(invitations.expiresAt, accepted.now)))
      .returning({ role: invitations.role });
    if (taken === undefined) return false;
    await tx
      .insert(members)
      .values({ organizationId: scope.organizationId, userId: accepted.userId, role: taken.role })
      .onConflictDoNothing();
    return true;
  });
}
