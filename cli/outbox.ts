import type { EffectView } from '../core/effect.ts';
import { ChainloopError } from '../core/errors.ts';
import { command, group, id, oneOf, toggle } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

export const outbox = group('outbox', 'what is still to be done because of pushes: links, copies to mirrors', [
  command({
    name: 'ls',
    about: 'list what waits and what failed, the newest first',
    examples: ['chainloop outbox ls', 'chainloop outbox ls --state failed --output json'],
    details:
      'What is done is not listed. What fails is tried again for a day and a half, with longer and longer pauses, before it counts as failed.',
    flags: { state: oneOf('<state>', ['pending', 'failed'], 'only these'), ...pageFlags },
    run: async (context, { state, ...paging }) => {
      const client = await connect(context);
      const page = await collect(context, paging, (page) => client.outbox.list.query({ ...page, state }));
      print(context, page, () => [effectTable(page.items)]);
    },
  }),
  command({
    name: 'retry',
    about: 'try again what failed, once its cause is gone',
    examples: ['chainloop outbox retry --all', 'chainloop outbox retry --id 0d3c2a41-5c0f-4b53-9a3d-6a1b7f0c2e11'],
    flags: { id: id('the effect', 'chainloop outbox ls --output json'), all: toggle('all that failed') },
    run: async (context, { id, all }) => {
      if (all === (id !== undefined)) throw new ChainloopError('USAGE', 'say what to try again: give either --id <id> or --all');
      const answer = await (await connect(context)).outbox.retry.mutate({ id });
      context.log.info(`${answer.retried} tried again; see: chainloop outbox ls`);
      print(context, answer, () => []);
    },
  }),
]);

export function effectTable(effects: readonly EffectView[]): Table {
  return {
    header: ['ID', 'RUN', 'WHAT', 'WHERE', 'STATE', 'TRIES', 'NEXT TRY', 'LAST ERROR'],
    rows: effects.map(({ id, runId, kind, casBackend, state, attempts, nextAttemptAt, errorCode, error }) => [
      ...[id, runId, kind, casBackend ?? '', state, String(attempts), nextAttemptAt === null ? '' : formatTime(nextAttemptAt)],
      error === null ? '' : `${errorCode}: ${error}`,
    ]),
  };
}
