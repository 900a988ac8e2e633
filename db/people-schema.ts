import { sql } from 'drizzle-orm';
import { check, foreignKey, index, pgPolicy, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import type { Role } from '../core/roles.ts';
import { createdAt, digest, id, instant, organization } from './columns.ts';
import { appRole, systemPolicy, tenantPolicy } from './policies.ts';
import { organizations } from './schema.ts';

/** The tables of people: who they are, where they belong, and how long they are logged in. */

/** A person, as the OpenID provider names one: by issuer and subject. Name and e-mail are for display, as of the last login. */
export const users = pgTable(
  'users',
  {
    id: id(),
    issuer: text().notNull(),
    subject: text().notNull(),
    name: text().notNull(),
    email: text(),
    createdAt: createdAt(),
    lastLoginAt: createdAt(),
  },
  (t) => [
    unique('users_subject_key').on(t.issuer, t.subject),
    check('users_lengths', sql`length(${t.subject}) between 1 and 255 and length(${t.name}) <= 256 and length(${t.email}) <= 320`),
    // An organization sees those who are in it: the members that this looks at are its own.
    pgPolicy('members', { for: 'select', to: appRole, using: sql`id in (select user_id from members)` }),
    systemPolicy(),
  ],
);

/** Who is in an organization, and as what. */
export const members = pgTable(
  'members',
  {
    id: id(),
    organizationId: organization(),
    userId: uuid().notNull(),
    role: text().$type<Role>().notNull(),
    createdAt: createdAt(),
  },
  (t) => [
    unique('members_user_key').on(t.organizationId, t.userId),
    foreignKey({ name: 'members_organization', columns: [t.organizationId], foreignColumns: [organizations.id] }),
    foreignKey({ name: 'members_user', columns: [t.userId], foreignColumns: [users.id] }),
    index('members_of_user').on(t.userId),
    index('members_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    check('members_role', sql`${t.role} in ('owner', 'admin', 'viewer')`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** Who may come into an organization: whoever logs in with that e-mail, verified, or has the code. Taken once: then the row is gone. */
export const invitations = pgTable(
  'invitations',
  {
    id: id(),
    organizationId: organization(),
    /** As core/email.ts compares them. */
    email: text().notNull(),
    role: text().$type<Role>().notNull(),
    hash: digest().notNull(),
    createdAt: createdAt(),
    expiresAt: instant().notNull(),
  },
  (t) => [
    foreignKey({ name: 'invitations_organization', columns: [t.organizationId], foreignColumns: [organizations.id] }),
    unique('invitations_email_key').on(t.organizationId, t.email),
    unique('invitations_hash_key').on(t.hash),
    index('invitations_by_email').on(t.email),
    index('invitations_newest').on(t.organizationId, t.createdAt.desc().nullsFirst(), t.id.desc().nullsFirst()),
    check('invitations_role', sql`${t.role} in ('owner', 'admin', 'viewer')`),
    check('invitations_hash', sql`octet_length(${t.hash}) = 32`),
    tenantPolicy(),
    systemPolicy(),
  ],
);

/** A login. Only the SHA-256 of its token is here. */
export const sessions = pgTable(
  'sessions',
  {
    id: id(),
    userId: uuid().notNull(),
    hash: digest().notNull(),
    createdAt: createdAt(),
    expiresAt: instant().notNull(),
    lastUsedAt: instant().notNull(),
    revokedAt: instant(),
  },
  (t) => [
    foreignKey({ name: 'sessions_user', columns: [t.userId], foreignColumns: [users.id] }),
    unique('sessions_hash_key').on(t.hash),
    index('sessions_of_user').on(t.userId),
    index('sessions_by_expiry').on(t.expiresAt),
    check('sessions_hash', sql`octet_length(${t.hash}) = 32`),
    systemPolicy(),
  ],
);
