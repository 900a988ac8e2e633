import type { OpenSessionView } from '../core/people.ts';
import { command, group, requiredId } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

export const session = group('session', 'where you are logged in', [
  command({
    name: 'ls',
    about: 'list your sessions that have not ended, the newest first',
    examples: ['chainloop auth session ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.session.list.query(page));
      print(context, page, () => [sessionsTable(page.items)]);
    },
  }),
  command({
    name: 'revoke',
    about: 'end one of your sessions, from the next request on',
    examples: ['chainloop auth session revoke --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    details: 'All of them: chainloop auth logout --everywhere.',
    flags: { id: requiredId('the session', 'chainloop auth session ls') },
    run: async (context, { id }) => {
      const ended = await (await connect(context)).session.end.mutate({ id });
      context.log.info('Session ended!');
      print(context, ended, () => []);
    },
  }),
]);

function sessionsTable(sessions: readonly OpenSessionView[]): Table {
  return {
    header: ['ID', 'LOGGED IN AT', 'LAST USED AT', 'EXPIRES AT', ''],
    rows: sessions.map(({ id, createdAt, lastUsedAt, expiresAt, isCurrent }) => [
      id,
      ...[createdAt, lastUsedAt, expiresAt].map(formatTime),
      isCurrent ? 'this one' : '',
    ]),
  };
}
