import type { ChangedMemberView, InvitationView, MemberView } from '../core/people.ts';
import { roles } from '../core/roles.ts';
import { command, group, requiredId, requiredOneOf, requiredText } from './command.ts';
import { connect } from './connect.ts';
import { type Context, print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const role = requiredOneOf('<role>', roles, 'what the person may do');

/** How what somebody left behind is ended. */
const enders = { 'api-token': 'api-token revoke', 'service-account': 'service-account revoke', invitation: 'org member rm' } as const;

export const member = group('member', 'people in the organization, and as what', [
  command({
    name: 'ls',
    about: 'list the members, and who is invited',
    examples: ['chainloop org member ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.member.list.query(page));
      const invited = (await client.invitation.list.query({ limit: 100 })).items;
      print(context, { ...page, invitations: invited }, () => [
        membersTable(page.items),
        ...(invited.length === 0 ? [] : [invitationsTable(invited, new Date())]),
      ]);
    },
  }),
  command({
    name: 'invite',
    about: 'invite a person: good for one login within 7 days',
    examples: ['chainloop org member invite --email alice@example.com --role admin'],
    details: `Whoever logs in with that e-mail address, which the provider must call verified, is in. The code does the same for whoever has it: chainloop
auth login --invitation CODE. To invite the same address again replaces the invitation.`,
    flags: { email: requiredText('<address>', 'whom to invite'), role },
    run: async (context, flags) => {
      const invited = await (await connect(context)).invitation.create.mutate(flags);
      context.log.info('Invited! The code is shown this once');
      print(context, invited, () => [
        {
          rows: [
            ['ID', invited.id],
            ['E-Mail', invited.email],
            ['Role', invited.role],
            ['Expires At', formatTime(invited.expiresAt)],
            ['Code', invited.code],
          ],
        },
      ]);
    },
  }),
  command({
    name: 'set-role',
    about: 'let a member do more, or less, from the next request on',
    examples: ['chainloop org member set-role --id 32f2af08-0839-40f8-9f77-c9f856b87351 --role viewer'],
    flags: { id: requiredId('the member', 'chainloop org member ls'), role },
    run: async (context, flags) => {
      const changed = await (await connect(context)).member.setRole.mutate(flags);
      warnOfLeft(context, changed);
      print(context, changed, () => [membersTable([changed])]);
    },
  }),
  command({
    name: 'rm',
    about: 'remove a member, or take an invitation back, from the next request on',
    examples: ['chainloop org member rm --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    details: 'The last owner cannot be removed. Tokens and invitations that a member made stay good, and are named.',
    flags: { id: requiredId('the member or invitation', 'chainloop org member ls') },
    run: async (context, { id }) => {
      const client = await connect(context);
      const { isChainloopError } = await import('../core/errors.ts');
      const removed = await client.member.remove.mutate({ id }).catch((error: unknown) => {
        if (!isChainloopError(error, 'NOT_FOUND')) throw error;
        return client.invitation.remove.mutate({ id });
      });
      context.log.info('subject' in removed ? 'Member removed!' : 'Invitation taken back!');
      if ('left' in removed) warnOfLeft(context, removed);
      print(context, removed, () => ['subject' in removed ? membersTable([removed]) : invitationsTable([removed], new Date())]);
    },
  }),
]);

function warnOfLeft({ log }: Context, { left }: ChangedMemberView): void {
  for (const { kind, id, name } of left)
    log.warn(`${kind} '${name}' was made by this member and is still good; end it with: chainloop ${enders[kind]} --id ${id}`);
}

function membersTable(members: readonly MemberView[]): Table {
  return {
    header: ['ID', 'NAME', 'E-MAIL', 'ROLE', 'MEMBER SINCE', 'LAST LOGIN AT'],
    rows: members.map((one) => [one.id, one.name, one.email ?? '', one.role, formatTime(one.createdAt), formatTime(one.lastLoginAt)]),
  };
}

function invitationsTable(invited: readonly InvitationView[], now: Date): Table {
  return {
    title: 'Invitations',
    header: ['ID', 'E-MAIL', 'ROLE', 'STATE', 'EXPIRES AT'],
    rows: invited.map((one) => [
      ...[one.id, one.email, one.role, new Date(one.expiresAt) > now ? 'open' : 'expired', formatTime(one.expiresAt)],
    ]),
  };
}
