import * as z from 'zod';
import { Email } from './email.ts';
import { limits } from './limits.ts';
import { type Role, roles, type TokenRole } from './roles.ts';
import { Id } from './wire.ts';

/** What the control plane is asked, and answers, of people: their logins, who is in an organization, and who is invited. */

/** How a login goes on: `handle` is for its end. */
export type LoginBegun = { readonly authorizationUrl: string; readonly handle: string; readonly expiresAt: string };
export type DeviceView = {
  readonly handle: string;
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete: string | null;
  readonly intervalSeconds: number;
  readonly expiresAt: string;
};
/** The only answer that carries the token of a session. */
export type SessionView = {
  readonly state: 'done';
  readonly token: string;
  readonly expiresAt: string;
  readonly name: string;
  readonly email: string | null;
  readonly organizations: readonly { readonly name: string; readonly role: Role }[];
};
/** A session of the person who asks, which has not ended. */
export type OpenSessionView = {
  readonly id: string;
  readonly createdAt: string;
  /** To the minute. */
  readonly lastUsedAt: string;
  readonly expiresAt: string;
  /** The one that asks. */
  readonly isCurrent: boolean;
};
export type MemberView = {
  readonly id: string;
  readonly name: string;
  readonly email: string | null;
  /** Who that is: the provider and its name for the person. */
  readonly issuer: string;
  readonly subject: string;
  readonly role: Role;
  readonly createdAt: string;
  readonly lastLoginAt: string;
};
/** What a person has made that goes on without him. */
export type Made = {
  readonly kind: 'api-token' | 'service-account' | 'invitation';
  readonly id: string;
  readonly name: string;
  /** What it lets do. An invitation: what it takes to invite. */
  readonly needs: TokenRole;
};
/** Who may do less from now on, and what of his still does more. */
export type ChangedMemberView = MemberView & { readonly left: readonly Made[] };
export type InvitationView = {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
  readonly createdAt: string;
  readonly expiresAt: string;
};

const LoginText = z.string().min(1).max(limits.loginParameterLength);

export const people = {
  /** The port that a browser comes back to, on the machine that it is on, and what it says there. */
  begin: z.strictObject({ port: z.int().min(1024).max(65_535), state: z.string().regex(/^[\w-]{22,128}$/) }),
  finish: z.strictObject({ handle: LoginText, code: LoginText, invitation: z.string().max(128).optional() }),
  device: z.strictObject({}),
  poll: z.strictObject({ handle: LoginText, invitation: z.string().max(128).optional() }),
  /** This one, another one, or all of the person. */
  end: z.strictObject({ everywhere: z.boolean().default(false), id: Id.optional() }),
  setRole: z.strictObject({ id: Id, role: z.enum(roles) }),
  invite: z.strictObject({ email: Email, role: z.enum(roles) }),
} as const;
