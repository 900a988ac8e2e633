import { limits } from '../../core/limits.ts';
import { type ChangedMemberView, type InvitationView, type MemberView, people } from '../../core/people.ts';
import { mayAct } from '../../core/roles.ts';
import { wire } from '../../core/wire.ts';
import {
  createInvitation,
  type InvitationRow,
  listInvitations,
  listMadeBy,
  listMembers,
  type MemberRow,
  removeInvitation,
  removeMember,
  setMemberRole,
} from '../../db/members.ts';
import { makeToken } from '../tokens.ts';
import { organizationOwner, router, viewer } from '../trpc.ts';

/**
 * Who is in the organization. Changes count from the next request on, on every server. Tokens and invitations that a member made stay: who makes him less, or
 * removes him, is told which.
 */
export const members = router({
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listMembers(scope, input);
    return { items: items.map(memberView), nextCursor };
  }),
  setRole: organizationOwner
    .input(people.setRole)
    .mutation(async ({ ctx: { scope, services }, input: { id, role } }): Promise<ChangedMemberView> => {
      const row = await setMemberRole(scope, id, role);
      const made = await listMadeBy(scope, row.userId, services.now());
      // What he could still make stays unsaid: to make any token he must be an admin.
      return { ...memberView(row), left: made.filter(({ needs }) => !mayAct(role, 'admin') || !mayAct(role, needs)) };
    }),
  remove: organizationOwner.input(wire.byId).mutation(async ({ ctx: { scope, services }, input }): Promise<ChangedMemberView> => {
    const row = await removeMember(scope, input.id);
    return { ...memberView(row), left: await listMadeBy(scope, row.userId, services.now()) };
  }),
});

/** Who may come in, at the next login. */
export const invitations = router({
  list: viewer.input(wire.page).query(async ({ ctx: { scope }, input }) => {
    const { items, nextCursor } = await listInvitations(scope, input);
    return { items: items.map(invitationView), nextCursor };
  }),
  /** The only answer that carries the code, which takes the invitation whatever the e-mail address. */
  create: organizationOwner.input(people.invite).mutation(async ({ ctx: { scope, services }, input }) => {
    const { token: code, hash } = makeToken('invitation');
    const expiresAt = new Date(services.now().getTime() + limits.invitationMs);
    return { ...invitationView(await createInvitation(scope, { ...input, hash, expiresAt })), code };
  }),
  remove: organizationOwner
    .input(wire.byId)
    .mutation(async ({ ctx: { scope }, input }) => invitationView(await removeInvitation(scope, input.id))),
});

function memberView({ id, name, email, issuer, subject, role, createdAt, lastLoginAt }: MemberRow): MemberView {
  return { id, name, email, issuer, subject, role, createdAt: createdAt.toISOString(), lastLoginAt: lastLoginAt.toISOString() };
}

function invitationView({ id, email, role, createdAt, expiresAt }: InvitationRow): InvitationView {
  return { id, email, role, createdAt: createdAt.toISOString(), expiresAt: expiresAt.toISOString() };
}
