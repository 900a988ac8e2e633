import type { Api } from '../client/api.ts';
import { ChainloopError } from '../core/errors.ts';
import { runnerTypes, runStates } from '../core/vocabulary.ts';
import { command, type Flag, group, id, oneOf, requiredId, requiredText, text, toggle } from './command.ts';
import { connect } from './connect.ts';
import { print, printJson, printTables } from './context.ts';
import { moment } from './moment.ts';
import { collect, pageFlags } from './paging.ts';
import { policyFlags, readPolicy } from './policy.ts';
import { attestationOf, bundleText } from './run-attestation.ts';
import { describeJson, describeTables, footnote, listTable } from './run-tables.ts';
import { withTrustRoot } from './trust-root.ts';

export const run = group('run', 'the runs of workflows and their attestations', [
  command({
    name: 'ls',
    about: 'list runs, the newest first',
    examples: [
      'chainloop workflow run ls',
      'chainloop workflow run ls --workflow release --project bedrock --state success',
      'chainloop workflow run ls --workflow ca6d9718-fa49-4a20-9db9-a82080e79632 --output json',
      'chainloop workflow run ls --contract release --runner GITHUB_ACTION --state failed --since 7d',
      'chainloop workflow run ls --commit 0f4c7a1e2b9d8c3f5a6e7d1b2c4f8a9e0d3b5c6a',
    ],
    details: '--since includes the time that it says, --until does not; both look at when a run was opened.',
    flags: {
      workflow: text('<id|name>', 'only this workflow: its id, or its name together with --project'),
      project: text('<name>', 'only this project'),
      contract: text('<name>', 'only runs that were judged by this contract, in any revision'),
      state: oneOf('<state>', runStates, 'only runs in this state'),
      runner: oneOf('<type>', [...runnerTypes, 'none'], 'only runs of this CI system'),
      commit: commitId('only runs of this commit'),
      since: moment('only runs that were opened then or later'),
      until: moment('only runs that were opened before'),
      ...pageFlags,
    },
    run: async (context, { limit, cursor, ...filter }) => {
      const client = await connect(context);
      const page = await collect(context, { limit, cursor }, (page) => client.run.list.query({ ...page, ...filter }));
      print(context, page, () => [listTable(page.items)]);
    },
  }),
  command({
    name: 'describe',
    about: 'show a run: its evidence, its statement, its signature',
    examples: [
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47',
      'chainloop workflow run describe --latest --workflow release --project bedrock',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --output statement',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --output attestation > release.sigstore.json',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --output vsa > release.vsa.sigstore.json',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --trust-root root.json --identity-prefix https://github.com/acme/app/',
      'chainloop workflow run describe --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --key release.pub',
    ],
    details: `"Verified" is the word of the control plane, unless you say whom you trust, with public keys or with a trusted root and an
identity: then this program checks the signature itself, and fails when it does not hold. What a CI system proved of a job is called verified;
what only the job says is called self-reported. --output attestation writes the bundle byte for byte as it is stored: its SHA-256 is the
"Digest". --output vsa and --output provenance do the same with what the control plane signed about the run.`,
    flags: {
      id: id('the run', 'chainloop workflow run ls'),
      latest: toggle('the newest run, of all or of the workflow that is named'),
      workflow: text('<id|name>', 'with --latest: its id, or its name together with --project'),
      project: text('<name>', 'with --latest: its project'),
      ...policyFlags,
    },
    outputs: ['table', 'json', 'statement', 'attestation', 'vsa', 'provenance'],
    run: async (context, { id, latest, workflow, project, ...trusted }) => {
      refuseAmbiguous({ id, latest, workflow, project });
      const policy = await withTrustRoot(trusted.trustRoot, readPolicy(trusted));
      const client = await connect(context);
      const description = await client.run.describe.query({ id: id ?? (await latestRun(client, { workflow, project })) });
      const checked = policy === undefined ? undefined : (await import('./run-verify.ts')).verifyRun(description, policy);
      // What fails is no answer: its table is part of what is said about the failure.
      const refused = checked?.type === 'refused';
      if (context.output === 'table') {
        const place = refused ? { ...context, stdout: context.stderr } : context;
        printTables(place, describeTables(description, checked));
        place.stdout.write(footnote(description));
      }
      if (refused) throw checked.error;
      if (checked !== undefined) context.log.info(`Verified here: signed by ${checked.signer.name}`);
      if (context.output === 'json') printJson(context, describeJson(description, checked));
      if (context.output === 'statement') printJson(context, attestationOf(description).statement);
      // A line break at its end would be another digest; on a terminal it keeps the prompt apart.
      const printBundle = (text: string): void => void context.stdout.write(`${text}${context.stdout.isTTY ? '\n' : ''}`);
      if (context.output === 'attestation') printBundle(bundleText(attestationOf(description)));
      if (context.output === 'vsa' || context.output === 'provenance') {
        printBundle(await (await import('./run-verdict.ts')).verdictBundle(context, description, context.output));
      }
    },
  }),
  command({
    name: 'hold',
    about: 'keep everything of a run, whatever retention says',
    examples: ['chainloop workflow run hold --id a6ec0229-7796-46fc-8df2-a03f4bddab47 --reason case-2026-17'],
    details: 'Of a run that was never pushed, nobody knows which uploads were its own: all that were used while it was open are kept.',
    flags: { id: requiredId('the run', 'chainloop workflow run ls'), reason: requiredText('<text>', 'why, for those who find it later') },
    run: async (context, { id, reason }) => {
      const answer = await (await connect(context)).run.hold.mutate({ id, reason });
      context.log.info('Run is on hold!');
      print(context, answer, () => []);
    },
  }),
  command({
    name: 'release',
    about: 'end the hold of a run',
    examples: ['chainloop workflow run release --id a6ec0229-7796-46fc-8df2-a03f4bddab47'],
    flags: { id: requiredId('the run', 'chainloop workflow run ls') },
    run: async (context, { id }) => {
      const answer = await (await connect(context)).run.release.mutate({ id });
      context.log.info('Run is released!');
      print(context, answer, () => []);
    },
  }),
]);

function commitId(about: string): Flag<string | undefined> {
  const given = text('<id>', about);
  const read = (value: unknown, long: string): string | undefined => {
    const word = given.read(value, long)?.toLowerCase();
    if (word === undefined || /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(word)) return word;
    throw new ChainloopError('USAGE', `--${long}: give the whole id of the commit, as git rev-parse says it`);
  };
  return { ...given, read };
}

type Asked = {
  readonly id: string | undefined;
  readonly latest: boolean;
  readonly workflow: string | undefined;
  readonly project: string | undefined;
};

function refuseAmbiguous({ id, latest, workflow, project }: Asked): void {
  if (latest === (id !== undefined)) throw new ChainloopError('USAGE', 'say which run: give either --id <id> or --latest');
  if (!latest && (workflow ?? project) !== undefined) {
    throw new ChainloopError('USAGE', '--workflow and --project choose among the newest runs: give --latest with them, or --id alone');
  }
}

async function latestRun(
  client: Api,
  of: { readonly workflow: string | undefined; readonly project: string | undefined },
): Promise<string> {
  const [newest] = (await client.run.list.query({ limit: 1, ...of })).items;
  if (newest === undefined) throw new ChainloopError('NOT_FOUND', 'there is no run yet; begin one with: chainloop attestation init');
  return newest.id;
}
