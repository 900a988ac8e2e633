import type { AuditActor } from '../../core/audit.ts';
import { Email } from '../../core/email.ts';
import { ChainloopError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { printable } from '../../core/source/place.ts';
import type { Database } from '../../db/client.ts';
import { acceptInvitation } from '../../db/members.ts';
import { findInvitations, findUser, keepUser, listMemberships, type Membership, type UserRow } from '../../db/sessions.ts';
import { hashToken, parseToken } from '../tokens.ts';
import type { Identity } from './id-token.ts';

/**
 * Lets in who has logged in: takes the invitations of a verified e-mail address and the one of a code. Issuer and subject say who
 * somebody is; an e-mail address only ever takes an invitation. FORBIDDEN for who is in no organization, of whom nothing is kept;
 * NOT_FOUND for a code that is good for nothing.
 */
export async function admit(
  database: Database,
  { issuer, subject, name, email, emailVerified }: Identity,
  code: string | undefined,
  now: Date,
): Promise<{ readonly user: UserRow; readonly memberships: readonly Membership[] }> {
  const { system } = database;
  const shown = printable(name ?? email ?? subject, 200);
  const person = { issuer, subject, name: shown, email: email === undefined ? null : printable(email, 300) };
  const known = await findUser(system, person);
  const before = known === undefined ? [] : await listMemberships(system, known.id);
  const hash = code !== undefined && parseToken(code)?.kind === 'invitation' ? hashToken(code) : undefined;
  const verified = emailVerified ? Email.safeParse(email).data : undefined;
  const invitations = await findInvitations(system, { email: verified, hash, now, limit: limits.memberships - before.length });
  if (code !== undefined && !invitations.some((invitation) => invitation.hash === hash)) {
    throw new ChainloopError('NOT_FOUND', 'invitation: it is not known, was taken, or has expired; ask for a new one');
  }
  if (before.length + invitations.length === 0) throw uninvited(person.email, emailVerified, issuer);
  const user = await keepUser(system, person);
  for (const { organizationId, hash: ofInvitation } of invitations) {
    const scope = database.scope(organizationId, asPerson(user));
    await acceptInvitation(scope, { hash: ofInvitation, userId: user.id, now });
  }
  const memberships = await listMemberships(system, user.id);
  if (memberships.length === 0) throw uninvited(person.email, emailVerified, issuer);
  return { user, memberships };
}

/** How the audit log names somebody who is logging in. */
export function asPerson({ id, name }: UserRow): AuditActor {
  return { kind: 'person', id, name };
}

function uninvited(email: string | null, isVerified: boolean, issuer: string): ChainloopError {
  const said =
    email === null ? 'says no e-mail address' : `says ${email}, ${isVerified ? 'verified' : 'and does not say that it is verified'}`;
  return new ChainloopError(
    'FORBIDDEN',
    `login: nobody has invited you. ${issuer} ${said}; an owner of your organization invites with: chainloop org member invite, and a code is taken with: chainloop auth login --invitation CODE`,
  );
}
