import { runStates } from '../core/vocabulary.ts';
import { command, group, oneOf, requiredText, text } from './command.ts';
import { connect } from './connect.ts';
import { print, printJson, printTables } from './context.ts';
import { collect, pageFlags } from './paging.ts';
import { policyFlags, readPolicy } from './policy.ts';
import { describeJson, describeTables, footnote, listTable } from './run-tables.ts';

export const run = group('run', 'the runs of workflows and their attestations', [
  command({
    name: 'ls',
    about: 'list runs, the newest first',
    examples: [
      'chainloop workflow run ls',
      'chainloop workflow run ls --workflow release --project bedrock --state success',
      'chainloop workflow run ls --workflow ca6d9718-fa49-4a20-9db9-a82080e79632 --output json',
    ],
    flags: {
      workflow: text('<id|name>', 'only this workflow: its id, or its name together with --project'),
      project: text('<name>', 'only this project'),
      state: oneOf('<state>', runStates, 'only runs in this state'),
      ...pageFlags,
    },
    run: async (context, { workflow, project, state, ...paging }) => {
      const client = await connect(context);
      const page = await collect(context, paging, (page) => client.run.list.query({ ...page, workflow, project, state }));
      print(context, page, () => [listTable(page.items)]);
    },
  }),
  command({
    name: 'describe',
    about: 'show a run: its evidence, its statement, its signature',
    examples: [
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --output statement',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --trust-root root.json --identity-prefix https://github.com/acme/app/',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --key release.pub',
    ],
    details: `"Verified" is the word of the control plane, unless you say whom you trust, with public keys or with a trusted root and an
identity: then this program checks the signature itself, and fails when it does not hold. What a CI system proved of a job is called verified;
what only the job says is called self-reported.`,
    flags: { id: requiredText('<id>', 'the run'), ...policyFlags },
    outputs: ['table', 'json', 'statement', 'attestation'],
    run: async (context, { id, ...trusted }) => {
      const policy = await readPolicy(trusted);
      const description = await (await connect(context)).run.describe.query({ id });
      const checked = policy === undefined ? undefined : (await import('./run-verify.ts')).verifyRun(description, policy);
      if (context.output === 'table') {
        printTables(context, describeTables(description, checked));
        context.stdout.write(footnote(description));
      }
      if (checked?.type === 'refused') throw checked.error;
      if (checked !== undefined) context.log.info(`Verified here: signed by ${checked.signer.name}`);
      const { attestation } = description;
      if (context.output === 'json') printJson(context, describeJson(description, checked));
      if (context.output === 'statement' || context.output === 'attestation') {
        if (attestation === null) throw await noAttestation(description.run.id, description.run.state);
        printJson(context, context.output === 'statement' ? attestation.statement : attestation.bundle);
      }
    },
  }),
]);

async function noAttestation(id: string, state: string): Promise<Error> {
  const { ChainloopError } = await import('../core/errors.ts');
  return new ChainloopError('NOT_FOUND', `run ${id} has no attestation: its state is ${state}`);
}
