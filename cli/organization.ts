import type { OrganizationView } from '../core/wire.ts';
import { command, group, requiredText } from './command.ts';
import { connect, connectToInstance } from './connect.ts';
import { print } from './context.ts';
import { member } from './member.ts';
import { collect, pageFlags } from './paging.ts';
import { readConfig, writeConfig } from './settings.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

export const organization = group('org', 'organizations, and who is in them', [
  command({
    name: 'create',
    about: 'create an organization (with the token of the owner)',
    examples: ['chainloop org create --name acme'],
    flags: { name: requiredText('<name>', 'its name') },
    run: async (context, { name }) => {
      const created = await (await connectToInstance(context)).organization.create.mutate({ name });
      context.log.info(`Organization created! work in it with: chainloop org use --name ${name}`);
      print(context, created, () => [table([created])]);
    },
  }),
  command({
    name: 'ls',
    about: 'list the organizations that you may see',
    examples: ['chainloop org ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connectToInstance(context);
      const page = await collect(context, flags, (page) => client.organization.list.query(page));
      print(context, page, () => [table(page.items)]);
    },
  }),
  command({
    name: 'describe',
    about: 'show the organization that you work in',
    examples: ['chainloop org describe', 'chainloop org describe --organization acme'],
    flags: {},
    run: async (context) => {
      const found = await (await connect(context)).organization.describe.query();
      print(context, found, () => [table([found])]);
    },
  }),
  command({
    name: 'use',
    about: 'work in this organization from now on',
    examples: ['chainloop org use --name acme'],
    flags: { name: requiredText('<name>', 'the organization') },
    run: async (context, { name }) => {
      const settings = await context.settings();
      const client = await connect({ ...context, settings: async () => ({ ...settings, organization: name }) });
      const found = await client.organization.describe.query();
      const config = await readConfig(context.env);
      // The organization is one of this control plane: the two are kept together.
      await writeConfig(context.env, { ...(config.url === settings.url ? config : {}), url: settings.url, organization: name });
      context.log.info(`Organization ${name} is used from now on`);
      print(context, found, () => [table([found])]);
    },
  }),
  member,
]);

function table(organizations: readonly OrganizationView[]): Table {
  return {
    header: ['ID', 'NAME', 'CREATED AT'],
    rows: organizations.map(({ id, name, createdAt }) => [id, name, formatTime(createdAt)]),
  };
}
