import { and, desc, eq, gt, isNull, lt, or, sql } from 'drizzle-orm';
import * as z from 'zod';
import type { Digest } from '../core/digest.ts';
import { roles } from '../core/roles.ts';
import type { Paged } from '../core/wire.ts';
import type { SystemScope } from './client.ts';
import { after, type Page, paged, position } from './page.ts';
import { invitations, members, sessions, users } from './people-schema.ts';
import { organizations } from './schema.ts';
import { usedTokens } from './trust-schema.ts';
import { found } from './violation.ts';

/** A person, as an OpenID provider has just named one. */
export type Person = Pick<typeof users.$inferSelect, 'issuer' | 'subject' | 'name' | 'email'>;
export type UserRow = typeof users.$inferSelect;

/** Where a user belongs, and as what. */
const Memberships = z.array(z.object({ id: z.string(), name: z.string(), role: z.enum(roles) }));
export type Membership = z.infer<typeof Memberships>[number];

/** A session by itself. */
export type OpenSessionRow = typeof sessions.$inferSelect;
/** A session as the server meets it. */
export type SessionRow = OpenSessionRow & { readonly user: UserRow; readonly memberships: readonly Membership[] };

const memberships = sql<unknown>`coalesce((select json_agg(json_build_object('id', o.id, 'name', o.name, 'role', m.role) order by o.name)
  from members m join organizations o on o.id = m.org_id where m.user_id = ${users.id}), '[]'::json)`.as('memberships');

/** The session of that hash, in whatever state it is, with what its user may do at this moment, or undefined. */
export async function findSession(system: SystemScope, hash: Digest): Promise<SessionRow | undefined> {
  const [row] = await system.read((tx) =>
    tx
      .select({ session: sessions, user: users, memberships })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .where(eq(sessions.hash, hash)),
  );
  return row && { ...row.session, user: row.user, memberships: Memberships.parse(row.memberships) };
}

export type NewSession = Pick<SessionRow, 'userId' | 'hash' | 'expiresAt'> & {
  /** Of the login that it is for, and until when that could be ended. */
  readonly use: Digest;
  readonly usedUntil: Date;
};

/** Uses up a login and keeps the session for it, both or neither. `used`: there was a session for it before. */
export function createSession(system: SystemScope, { use, usedUntil, ...session }: NewSession, now: Date): Promise<'kept' | 'used'> {
  return system.run(async (tx) => {
    const first = await tx
      .insert(usedTokens)
      .values({ digest: use, expiresAt: usedUntil })
      .onConflictDoNothing()
      .returning({ expiresAt: usedTokens.expiresAt });
    if (first.length === 0) return 'used';
    await tx.update(users).set({ lastLoginAt: now }).where(eq(users.id, session.userId));
    await tx.insert(sessions).values({ ...session, createdAt: now, lastUsedAt: now });
    return 'kept';
  });
}

/** The sessions of a user that have not ended, newest first. Throws USAGE for a malformed cursor. */
export async function listSessions(
  system: SystemScope,
  userId: string,
  { now, usedSince }: { readonly now: Date; readonly usedSince: Date | undefined },
  page: Page,
): Promise<Paged<OpenSessionRow>> {
  const open = and(isNull(sessions.revokedAt), gt(sessions.expiresAt, now), usedSince && gt(sessions.lastUsedAt, usedSince));
  const rows = await system.read((tx) =>
    tx
      .select({ row: sessions, at: position(sessions) })
      .from(sessions)
      .where(and(eq(sessions.userId, userId), open, after(sessions, page.cursor)))
      .orderBy(desc(sessions.createdAt), desc(sessions.id))
      .limit(page.limit + 1),
  );
  return paged(rows, page, (row) => row);
}

/** Ends one session of a user, or all, from the next request on. How many have ended. */
export async function endSessions(
  system: SystemScope,
  which: { readonly userId: string; readonly id?: string | undefined },
  now: Date,
): Promise<number> {
  const own = and(eq(sessions.userId, which.userId), which.id === undefined ? undefined : eq(sessions.id, which.id));
  const ended = await system.run((tx) =>
    tx
      .update(sessions)
      .set({ revokedAt: now })
      .where(and(own, isNull(sessions.revokedAt), gt(sessions.expiresAt, now)))
      .returning({ id: sessions.id }),
  );
  return ended.length;
}

/** Notes that a session was used. Once a minute is enough; the statement sees to that. */
export async function touchSession(system: SystemScope, id: string, now: Date): Promise<void> {
  const at = now.toISOString();
  await system.statement(
    'touch_session',
    sql`update sessions set last_used_at = ${at}::timestamptz
    where id = ${id}::uuid and last_used_at < ${at}::timestamptz - interval '1 minute'`,
  );
}

/** Forgets sessions that ended before then. */
export async function forgetSessions(system: SystemScope, before: Date): Promise<void> {
  await system.run((tx) => tx.delete(sessions).where(lt(sessions.expiresAt, before)));
}

/** Where somebody may come in: by that e-mail, which is verified, or by the hash of a code. */
export function findInvitations(
  system: SystemScope,
  by: { readonly email: string | undefined; readonly hash: Digest | undefined; readonly now: Date; readonly limit: number },
): Promise<{ readonly organizationId: string; readonly hash: Digest }[]> {
  const matches = [
    ...(by.email === undefined ? [] : [eq(invitations.email, by.email)]),
    ...(by.hash === undefined ? [] : [eq(invitations.hash, by.hash)]),
  ];
  if (matches.length === 0) return Promise.resolve([]);
  return system.read((tx) =>
    tx
      .select({ organizationId: invitations.organizationId, hash: invitations.hash })
      .from(invitations)
      .where(and(or(...matches), gt(invitations.expiresAt, by.now)))
      .orderBy(invitations.createdAt)
      .limit(by.limit),
  );
}

/** The organizations that a user is in. */
export async function listMemberships(system: SystemScope, userId: string): Promise<readonly Membership[]> {
  return system.read((tx) =>
    tx
      .select({ id: organizations.id, name: organizations.name, role: members.role })
      .from(members)
      .innerJoin(organizations, eq(organizations.id, members.organizationId))
      .where(eq(members.userId, userId))
      .orderBy(organizations.name),
  );
}

/** The user of that issuer and subject, or undefined: he was never let in. */
export async function findUser(system: SystemScope, { issuer, subject }: Person): Promise<UserRow | undefined> {
  const [row] = await system.read((tx) =>
    tx
      .select()
      .from(users)
      .where(and(eq(users.issuer, issuer), eq(users.subject, subject))),
  );
  return row;
}

/** Keeps who somebody is; name and e-mail are as the provider says now. */
export async function keepUser(system: SystemScope, person: Person): Promise<UserRow> {
  const { name, email } = person;
  const [row] = await system.run((tx) =>
    tx
      .insert(users)
      .values(person)
      .onConflictDoUpdate({ target: [users.issuer, users.subject], set: { name, email } })
      .returning(),
  );
  return found(row, 'user');
}
