import { basename } from 'node:path';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { BindingView } from '../core/wire.ts';
import { command, group, requiredId, requiredText } from './command.ts';
import { connect } from './connect.ts';
import { type Context, print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const id = requiredId('the binding, as binding ls shows it', 'chainloop binding ls');

export const binding = group('binding', 'jobs of a CI system that may attest a workflow, without any secret', [
  command({
    name: 'create',
    about: 'let jobs of a repository attest a workflow',
    examples: ['chainloop binding create -f binding.yaml'],
    details: `The file says which jobs: repository, refs, events and more (docs/federation.md). Without repositoryId and ownerId the binding is pending: within
72 hours the first job of that repository that meets all else fixes them.`,
    flags: { file: requiredText('<path>', 'the binding: YAML or JSON', { short: '-f' }) },
    run: async (context, { file }) => {
      const written = await readBinding(file);
      const client = await connect(context);
      const created = await withFile(file, client.binding.create.mutate(written));
      context.log.info('Binding created!');
      sayPending(context, created);
      print(context, created, () => [describeTable(created)]);
    },
  }),
  command({
    name: 'ls',
    about: 'list the bindings, and which are still pending',
    examples: ['chainloop binding ls', 'chainloop binding ls --output json'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.binding.list.query(page));
      print(context, page, () => [
        {
          header: ['ID', 'WORKFLOW', 'REPOSITORY', 'STATE'],
          rows: page.items.map((item) => [item.id, `${item.project}/${item.workflow}`, item.repository, stateOf(item)]),
        },
      ]);
    },
  }),
  command({
    name: 'describe',
    about: 'show what a job must be to be let in',
    examples: ['chainloop binding describe --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    flags: { id },
    run: async (context, { id }) => {
      const found = await (await connect(context)).binding.describe.query({ id });
      sayPending(context, found);
      print(context, found, () => [describeTable(found)]);
    },
  }),
  command({
    name: 'rm',
    about: 'let these jobs in no longer; credentials that they have end at once',
    examples: ['chainloop binding rm --id 32f2af08-0839-40f8-9f77-c9f856b87351'],
    flags: { id },
    run: async (context, { id }) => {
      await (await connect(context)).binding.remove.mutate({ id });
      context.log.info('Binding removed!');
      print(context, { id, deleted: true }, () => []);
    },
  }),
]);

/** The file as it is. The control plane reads it: which issuers there are, only it knows. */
async function readBinding(path: string): Promise<{ readonly format: 'yaml' | 'json'; readonly body: string }> {
  const { readLimited } = await import('../core/adapters/files.ts');
  const bytes = await readLimited(path, limits.bindingSizeBytes);
  try {
    const body = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return { format: basename(path).endsWith('.json') ? 'json' : 'yaml', body };
  } catch (cause) {
    throw new ChainloopError('USAGE', `binding: ${path} is not UTF-8 text`, { cause });
  }
}

/** The same answer, with the file's name on every problem that has a line. */
async function withFile<T>(file: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isChainloopError(error, 'USAGE')) throw error;
    const problems = error.problems.map((problem) => (problem.line === undefined ? problem : { ...problem, file }));
    throw new ChainloopError(error.code, error.message, { cause: error, problems });
  }
}

function sayPending({ log }: Context, { state, repository, pendingUntil }: BindingView): void {
  if (state === 'pending') {
    log.warn(
      `pending: the first job of ${repository} that meets all of this by ${formatTime(pendingUntil ?? '')} fixes repository and owner for good`,
    );
  }
  if (state === 'expired') log.warn('no job came in time, so it lets nobody in; remove it, and create it again');
}

function stateOf({ state, pendingUntil }: BindingView): string {
  return state === 'pending' ? `pending until ${formatTime(pendingUntil ?? '')}` : state;
}

function describeTable(binding: BindingView): Table {
  const { repositoryId, ownerId, environment, workflowRef, jobWorkflowRef, runnerEnvironment, lastUsedAt } = binding;
  const optional = (name: string, value: string | null): Table['rows'] => (value === null ? [] : [[name, value]]);
  const pending = 'set by the first job';
  return {
    title: 'Binding',
    rows: [
      ['ID', binding.id],
      ['Workflow', `${binding.project}/${binding.workflow}`],
      ['State', stateOf(binding)],
      ['Created At', formatTime(binding.createdAt)],
      ['Last Used At', formatTime(lastUsedAt ?? 'never')],
      ...(['line', ['A job must be', ''], 'line'] as const),
      ['Issuer', binding.issuer],
      ['Repository', binding.repository],
      ['Repository ID', repositoryId ?? pending],
      ['Owner ID', ownerId ?? pending],
      ['Refs', binding.refs.join(' ')],
      ['Events', binding.events.join(' ')],
      ...optional('Environment', environment),
      ...optional('Workflow File', workflowRef),
      ...optional('Reusable Workflow', jobWorkflowRef),
      ...optional('Runner', runnerEnvironment),
    ],
  };
}
