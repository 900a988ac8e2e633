import { basename } from 'node:path';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { ContractRevisionView } from '../core/wire.ts';
import { command, count, group, requiredText, text } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { escapeText } from './terminal/escape.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const name = text('<name>', 'the contract; else the name inside the file');
const file = requiredText('<path>', 'the contract: YAML, JSON or CUE', { short: '-f' });

export const contract = group('contract', 'what evidence the runs of a workflow must bring', [
  command({
    name: 'create',
    about: 'create a contract from a file',
    examples: ['chainloop workflow contract create --name release -f chainloop-contract.yaml'],
    flags: { name, file },
    run: async (context, { name, file }) => {
      const written = await readContract(file);
      const client = await connect(context);
      const created = await withFile(file, client.contract.create.mutate({ name, ...written }));
      context.log.info(`Contract created! revision ${created.revision}`);
      print(context, created, () => [describeTable(created)]);
    },
  }),
  command({
    name: 'update',
    about: 'give a contract a new revision, if its content differs',
    examples: ['chainloop workflow contract update --name release -f chainloop-contract.yaml'],
    details: 'White space, comments and the order of keys make no new revision. Runs that are open keep the revision they began with.',
    flags: { name, file },
    run: async (context, { name, file }) => {
      const written = await readContract(file);
      const client = await connect(context);
      const updated = await withFile(file, client.contract.update.mutate({ name, ...written }));
      context.log.info(
        updated.changed ? `Contract updated! revision ${updated.revision}` : `Nothing changed, revision ${updated.revision} stays`,
      );
      print(context, updated, () => [describeTable(updated)]);
    },
  }),
  command({
    name: 'ls',
    about: 'list the contracts',
    examples: ['chainloop workflow contract ls'],
    flags: pageFlags,
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.contract.list.query(page));
      print(context, page, () => [
        {
          header: ['NAME', 'REVISION', 'CREATED AT', 'UPDATED AT', 'WORKFLOWS'],
          rows: page.items.map(({ name, latestRevision, createdAt, updatedAt, workflows }) => [
            ...[name, String(latestRevision), formatTime(createdAt), formatTime(updatedAt), workflows.join(', ')],
          ]),
          right: [1],
        },
      ]);
    },
  }),
  command({
    name: 'describe',
    about: 'show a contract, as it was written',
    examples: [
      'chainloop workflow contract describe --name release',
      'chainloop workflow contract describe --name release --revision 1 --output json',
    ],
    flags: { name: requiredText('<name>', 'the contract'), revision: count('<n>', 'an older revision') },
    run: async (context, { name, revision }) => {
      const found = await (await connect(context)).contract.describe.query({ name, revision });
      print(context, found, () => [describeTable(found)]);
      if (context.output === 'table') context.stdout.write(`${found.body.trimEnd().split(/\r?\n/).map(escapeText).join('\n')}\n`);
    },
  }),
  command({
    name: 'validate',
    about: 'check a contract file without saving it',
    examples: ['chainloop workflow contract validate -f chainloop-contract.yaml'],
    details: 'YAML and JSON are checked here, without a control plane. CUE is evaluated by the control plane.',
    flags: { name, file },
    run: async (context, { name, file }) => {
      const { format, body } = await readContract(file);
      if (format === 'cue') {
        const client = await connect(context);
        await withFile(file, client.contract.validate.query({ name, format, body }));
      } else {
        const { parseContract } = await import('../core/contract.ts');
        await withFile(file, (async () => parseContract(body, format))());
      }
      context.log.info('Contract is valid!', { file });
      print(context, { file, valid: true }, () => []);
    },
  }),
  command({
    name: 'delete',
    about: 'remove a contract that no workflow uses',
    examples: ['chainloop workflow contract delete --name release-old'],
    flags: { name: requiredText('<name>', 'the contract') },
    run: async (context, { name }) => {
      await (await connect(context)).contract.remove.mutate({ name });
      context.log.info('Contract deleted!');
      print(context, { name, deleted: true }, () => []);
    },
  }),
]);

/** The file as it is, and the language that it is written in. */
export async function readContract(path: string): Promise<{ readonly format: 'yaml' | 'json' | 'cue'; readonly body: string }> {
  const [{ readLimited }, { guessFormat }] = await Promise.all([import('../core/adapters/files.ts'), import('../core/contract.ts')]);
  const bytes = await readLimited(path, limits.contractSizeBytes);
  let body: string;
  try {
    body = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new ChainloopError('CONTRACT_INVALID', `contract: ${path} is not UTF-8 text`, { cause: error });
  }
  return { format: guessFormat(basename(path), body), body };
}

/** The same answer, with the file's name on every problem of a contract. */
export async function withFile<T>(file: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!isChainloopError(error, 'CONTRACT_INVALID')) throw error;
    throw new ChainloopError(error.code, error.message, {
      cause: error,
      problems: error.problems.map((problem) => ({ ...problem, file })),
    });
  }
}

function describeTable(contract: Omit<ContractRevisionView, 'contract'>): Table {
  return {
    title: 'Contract',
    rows: [
      ['Name', contract.name],
      [
        'Revision',
        contract.revision === contract.latestRevision ? String(contract.revision) : `${contract.revision} of ${contract.latestRevision}`,
      ],
      ['Format', contract.format],
      ...(contract.digest === undefined ? [] : [['Digest', contract.digest]]),
      ['Created At', formatTime(contract.createdAt)],
    ],
  };
}
