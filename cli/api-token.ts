import { tokenRoles } from '../core/roles.ts';
import { command, count, group, oneOf, requiredId, requiredText } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { printCreated, tokensTable } from './tokens.ts';

export const apiToken = group('api-token', 'tokens for operators and their scripts', [
  command({
    name: 'create',
    about: 'create a token of this organization',
    examples: [
      'chainloop api-token create --name dashboards --role viewer --expires-in-days 30',
      'chainloop api-token create --name releases --role attest',
    ],
    details: `An owner may do everything, an admin everything but say who is in the organization, a viewer only read, evidence included. With the role
attest it may attest any workflow, and nothing else. You cannot make one that may do more than you.`,
    flags: {
      name: requiredText('<name>', 'what to call it'),
      role: oneOf('<role>', tokenRoles, 'what it may do (default admin)'),
      expiresInDays: count('<days>', 'its lifetime (default 90)', { most: 3650 }),
    },
    run: async (context, flags) => {
      const created = await (await connect(context)).apiToken.create.mutate(flags);
      printCreated(context, created, 'API token');
    },
  }),
  command({
    name: 'ls',
    about: 'list the API tokens',
    examples: ['chainloop api-token ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.apiToken.list.query(page));
      print(context, page, () => [tokensTable(page.items, new Date())]);
    },
  }),
  command({
    name: 'revoke',
    about: 'make an API token unusable, at once',
    examples: ['chainloop api-token revoke --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    flags: { id: requiredId('the token', 'chainloop api-token ls') },
    run: async (context, { id }) => {
      const revoked = await (await connect(context)).apiToken.revoke.mutate({ id });
      context.log.info('API token revoked!');
      print(context, revoked, () => [tokensTable([revoked], new Date())]);
    },
  }),
]);
