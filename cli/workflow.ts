import { ChainloopError } from '../core/errors.ts';
import type { WorkflowView } from '../core/wire.ts';
import { clearableText, command, group, requiredText, text } from './command.ts';
import { connect } from './connect.ts';
import { print } from './context.ts';
import { contract } from './contract.ts';
import { collect, pageFlags } from './paging.ts';
import { run } from './run.ts';
import type { Table } from './terminal/table.ts';
import { formatTime } from './terminal/time.ts';

const name = requiredText('<name>', 'the workflow');
const project = requiredText('<name>', 'its project');

export const workflow = group('workflow', 'workflows, their contracts and their runs', [
  command({
    name: 'ls',
    about: 'list the workflows, with how often they ran and how the last run ended',
    examples: ['chainloop workflow ls', 'chainloop workflow ls --project bedrock --output json'],
    flags: { project: text('<name>', 'only this project'), ...pageFlags },
    run: async (context, flags) => {
      const client = await connect(context);
      const page = await collect(context, flags, (page) => client.workflow.list.query({ ...page, project: flags.project }));
      print(context, page, () => [listTable(page.items)]);
    },
  }),
  command({
    name: 'create',
    about: 'create a workflow, bound to a contract',
    examples: ['chainloop workflow create --name release --project bedrock --team core --contract release'],
    details: `The project is created when it is new. Without --contract, an empty contract of the same name is made; where that name is taken, the
contract has to be named.`,
    flags: {
      name,
      project,
      team: text('<name>', 'who is responsible for it'),
      contract: text('<name>', 'the contract that binds its runs'),
    },
    run: async (context, { name, project, team, contract }) => {
      const created = await (await connect(context)).workflow.create.mutate({ name, project, team, contract });
      context.log.info(`Workflow created! Contract '${created.contractName}' (revision ${created.contractRevision}) binds its runs`);
      print(context, created, () => [describeTable(created)]);
    },
  }),
  command({
    name: 'update',
    about: 'change the team or the contract of a workflow',
    examples: ['chainloop workflow update --name release --project bedrock --contract release-strict'],
    flags: {
      name,
      project,
      team: clearableText('<name>', "who is responsible for it; '' for nobody"),
      contract: text('<name>', 'the contract that binds its runs'),
    },
    run: async (context, { name, project, team, contract }) => {
      if (team === undefined && contract === undefined) {
        throw new ChainloopError('USAGE', 'nothing to change was given: say what, with --team or --contract');
      }
      const updated = await (await connect(context)).workflow.update.mutate({ name, project, team, contract });
      context.log.info('Workflow updated!');
      print(context, updated, () => [describeTable(updated)]);
    },
  }),
  command({
    name: 'describe',
    about: 'show one workflow',
    examples: ['chainloop workflow describe --name release --project bedrock'],
    flags: { name, project },
    run: async (context, { name, project }) => {
      const found = await (await connect(context)).workflow.describe.query({ name, project });
      print(context, found, () => [describeTable(found)]);
    },
  }),
  command({
    name: 'delete',
    about: 'remove a workflow; the records of its runs stay',
    examples: ['chainloop workflow delete --name release --project bedrock'],
    flags: { name, project },
    run: async (context, { name, project }) => {
      await (await connect(context)).workflow.remove.mutate({ name, project });
      context.log.info('Workflow deleted!');
      print(context, { name, project, deleted: true }, () => []);
    },
  }),
  command({
    name: 'hold',
    about: 'keep everything of its runs, whatever retention says',
    examples: ['chainloop workflow hold --name release --project bedrock --reason case-2026-17'],
    flags: { name, project, reason: requiredText('<text>', 'why, for those who find it later') },
    run: async (context, flags) => {
      const answer = await (await connect(context)).workflow.hold.mutate(flags);
      context.log.info('Workflow is on hold!');
      print(context, answer, () => []);
    },
  }),
  command({
    name: 'release',
    about: 'end the hold of a workflow',
    examples: ['chainloop workflow release --name release --project bedrock'],
    flags: { name, project },
    run: async (context, flags) => {
      const answer = await (await connect(context)).workflow.release.mutate(flags);
      context.log.info('Workflow is released!');
      print(context, answer, () => []);
    },
  }),
  contract,
  run,
]);

function listTable(workflows: readonly WorkflowView[]): Table {
  return {
    header: ['ID', 'NAME', 'PROJECT', 'TEAM', 'CREATED AT', '# RUNS', 'LAST RUN STATUS'],
    rows: workflows.map(({ id, name, project, team, createdAt, runsCount, lastRun }) => [
      ...[id, name, project, team, formatTime(createdAt), String(runsCount), lastRun?.state ?? ''],
    ]),
    right: [5],
  };
}

function describeTable(workflow: WorkflowView): Table {
  return {
    title: 'Workflow',
    rows: [
      ['ID', workflow.id],
      ['Name', workflow.name],
      ['Team', workflow.team],
      ['Project', workflow.project],
      ['Created At', formatTime(workflow.createdAt)],
      ['Contract', `${workflow.contractName} (revision ${workflow.contractRevision})`],
      ['Runs', String(workflow.runsCount)],
      ['Last Run', workflow.lastRun === null ? '' : `${workflow.lastRun.state}, ${formatTime(workflow.lastRun.createdAt)}`],
    ],
  };
}
