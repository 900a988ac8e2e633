import { command, count, group, requiredId, requiredText } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { printCreated, tokensTable } from './tokens.ts';

export const serviceAccount = group('service-account', 'tokens for CI jobs, each for one workflow', [
  command({
    name: 'create',
    about: 'create a token with which one workflow can be attested, and nothing else',
    examples: [
      'chainloop service-account create --workflow release --project bedrock --name ci',
      'chainloop service-account create --workflow release --project bedrock --name ci --output json | jq -r .token',
    ],
    flags: {
      workflow: requiredText('<name>', 'the workflow'),
      project: requiredText('<name>', 'its project'),
      name: requiredText('<name>', 'what to call it'),
      expiresInDays: count('<days>', 'its lifetime (default 90)', { most: 3650 }),
    },
    run: async (context, flags) => {
      const created = await (await connect(context)).serviceAccount.create.mutate(flags);
      printCreated(context, created, 'Service account');
    },
  }),
  command({
    name: 'ls',
    about: 'list the service accounts',
    examples: ['chainloop service-account ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.serviceAccount.list.query(page));
      print(context, page, () => [tokensTable(page.items, new Date())]);
    },
  }),
  command({
    name: 'revoke',
    about: 'make a service account unusable, at once',
    examples: ['chainloop service-account revoke --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    flags: { id: requiredId('the service account', 'chainloop service-account ls') },
    run: async (context, { id }) => {
      const revoked = await (await connect(context)).serviceAccount.revoke.mutate({ id });
      context.log.info('Service account revoked!');
      print(context, revoked, () => [tokensTable([revoked], new Date())]);
    },
  }),
]);
