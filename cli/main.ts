import type { Command, Group, OutputFormat } from './command.ts';
import type { Context } from './context.ts';
import type { Noun } from './parser.ts';

/** A word after `chainloop`, and the file of its commands: nothing is loaded before it is asked for. */
type LazyNoun = Noun & { readonly section: string; readonly load: () => Promise<Group | Command> };

const job = 'In a CI job';
const operator = 'For operators';
const here = 'On this machine';

export const nouns: readonly LazyNoun[] = [
  {
    section: job,
    name: 'attest',
    about: 'all of it in one step: collect, check, sign, push',
    load: async () => (await import('./attest.ts')).attest,
  },
  {
    section: job,
    name: 'ci-finish',
    about: 'at the end of a job: say how it ended, and forget its credential',
    load: async () => (await import('./ci-finish.ts')).ciFinish,
  },
  {
    section: job,
    name: 'attestation',
    alias: 'att',
    about: 'collect evidence, sign and push it; verify it offline',
    load: async () => (await import('./attestation.ts')).attestation,
  },
  {
    section: job,
    name: 'verify',
    about: 'a release gate: is this artifact attested as it must be?',
    load: async () => (await import('./gate.ts')).gate,
  },
  {
    section: job,
    name: 'artifact',
    about: 'upload and download evidence by its digest',
    load: async () => (await import('./artifact.ts')).artifact,
  },
  {
    section: operator,
    name: 'workflow',
    alias: 'wf',
    about: 'workflows, their contracts and their runs',
    load: async () => (await import('./workflow.ts')).workflow,
  },
  {
    section: operator,
    name: 'discover',
    about: 'which runs touch a digest, file, image or commit',
    load: async () => (await import('./discover.ts')).discover,
  },
  {
    section: operator,
    name: 'org',
    alias: 'organization',
    about: 'organizations, and who is in them',
    load: async () => (await import('./organization.ts')).organization,
  },
  {
    section: operator,
    name: 'service-account',
    about: 'tokens for CI jobs, each for one workflow',
    load: async () => (await import('./service-account.ts')).serviceAccount,
  },
  {
    section: operator,
    name: 'binding',
    about: 'jobs of a CI system that may attest a workflow, without any secret',
    load: async () => (await import('./binding.ts')).binding,
  },
  {
    section: operator,
    name: 'api-token',
    about: 'tokens for operators and their scripts',
    load: async () => (await import('./api-token.ts')).apiToken,
  },
  {
    section: operator,
    name: 'key',
    about: 'signing keys: generate them, and say which are trusted',
    load: async () => (await import('./key.ts')).key,
  },
  {
    section: operator,
    name: 'identity',
    about: 'whose keyless signatures are trusted, besides the job of the run',
    load: async () => (await import('./identity.ts')).identity,
  },
  {
    section: operator,
    name: 'trust-root',
    about: 'the authorities behind keyless signatures: export, rotate',
    load: async () => (await import('./trust-root.ts')).trustRoot,
  },
  {
    section: operator,
    name: 'cas-backend',
    about: 'where the evidence of the organization is stored',
    load: async () => (await import('./cas-backend.ts')).casBackend,
  },
  { section: here, name: 'auth', about: 'log in to a control plane', load: async () => (await import('./auth.ts')).auth },
  { section: here, name: 'config', about: 'what is kept between commands', load: async () => (await import('./config.ts')).config },
  {
    section: here,
    name: 'server',
    about: 'start a control plane; back it up, restore it',
    load: async () => (await import('./server.ts')).server,
  },
  {
    section: operator,
    name: 'audit',
    about: 'what operators, tokens and jobs did',
    load: async () => (await import('./audit.ts')).audit,
  },
  {
    section: operator,
    name: 'outbox',
    about: 'what is still to be done because of pushes',
    load: async () => (await import('./outbox.ts')).outbox,
  },
  {
    section: operator,
    name: 'retention',
    about: 'how long evidence is kept, and what is removed',
    load: async () => (await import('./retention.ts')).retention,
  },
  {
    section: here,
    name: 'completion',
    about: 'completion for bash, zsh and fish',
    load: async () => (await import('./completion.ts')).completion,
  },
  { section: here, name: 'version', about: 'the version of this program', load: async () => (await import('./version.ts')).versionCommand },
];

/** Runs one command line to its end; the answer is the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  // A reader that has seen enough, as in `chainloop workflow ls | head -1`, is not a failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`ERR standard output cannot be written (${error.code}); what was printed is not whole\n`);
    process.exit(1);
  });
  const words = expanded(argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv);
  if (words.length === 0) return say(process.stderr, help(), 2);
  if (words.length === 1 && (words[0] === '--help' || words[0] === '-h')) return say(process.stdout, help(), 0);

  const wanted = nounOf(words);
  const noun = nouns.find(({ name, alias }) => name === wanted || alias === wanted);
  const [{ createLog }, { reportFailure }] = await Promise.all([import('./terminal/log.ts'), import('./failure.ts')]);
  const { env, stdin, stdout, stderr } = process;
  const log = createLog(stderr);
  let json = words.includes('--output=json') || words[words.indexOf('--output') + 1] === 'json';
  try {
    const [{ parseCommandLine }, loaded] = await Promise.all([import('./parser.ts'), noun?.load()]);
    const invocation = parseCommandLine(nouns, loaded, words);
    if (invocation === undefined) return 0;
    const { command, given, operands, globals } = invocation;
    const output = await chosenOutput(command.outputs, globals.output);
    json = output === 'json';
    let settings: ReturnType<Context['settings']> | undefined;
    const context: Context = {
      ...{ env, output, globals, log, stdin, stdout, stderr },
      settings: () => {
        settings ??= import('./settings.ts').then(({ readSettings }) => readSettings(globals, env));
        return settings;
      },
    };
    await command.invoke(context, given, operands);
    return 0;
  } catch (error) {
    return reportFailure(error, { log, stderr, json, env });
  }
}

async function chosenOutput(outputs: readonly OutputFormat[], asked: string | undefined): Promise<OutputFormat> {
  const chosen = asked === undefined ? outputs[0] : outputs.find((output) => output === asked);
  if (chosen !== undefined) return chosen;
  const { ChainloopError } = await import('../core/errors.ts');
  throw new ChainloopError('USAGE', `--output: '${asked}' is not one of ${outputs.join(', ')}`);
}

/** `chainloop run …` is short for `chainloop workflow run …`. */
function expanded(words: readonly string[]): readonly string[] {
  const at = nounIndex(words);
  return words[at] === 'run' ? words.toSpliced(at, 0, 'workflow') : words;
}

function nounOf(words: readonly string[]): string | undefined {
  return words[nounIndex(words)];
}

/** Where the first word is that is neither an option nor the value of one; -1 when there is none. */
function nounIndex(words: readonly string[]): number {
  const valued = ['--output', '--url', '--organization'];
  return words.findIndex((word, index) => !word.startsWith('-') && !valued.includes(words[index - 1] ?? ''));
}

function say(stream: NodeJS.WriteStream, text: string, exitCode: number): number {
  stream.write(text);
  return exitCode;
}

/** The first page: written here, because drawing it with the parser would take longer than starting Node. */
function help(): string {
  const sections = [job, operator, here].map((section) => {
    const lines = nouns.filter((noun) => noun.section === section).map(({ name, about }) => `  ${name.padEnd(16)} ${about}\n`);
    return `${section}:\n${lines.join('')}\n`;
  });
  return `Usage: chainloop <command> [options]

Evidence store and referee for software supply chains.

${sections.join('')}Options of every command:
  --output <format>      table (default) or json
  --url <origin>         the control plane (CHAINLOOP_URL)
  --organization <name>  the organization (CHAINLOOP_ORGANIZATION)
  --help                 what a command does, with examples
  --version              the version of this program

Environment:
  CHAINLOOP_TOKEN              the token; else: chainloop auth login
  CHAINLOOP_ID_TOKEN           of a GitLab job: exchanged where there is no token
  CHAINLOOP_WORKFLOW           which, where a CI job may attest several
  CHAINLOOP_SIGNING_KEY        a private key: a path, or env://VAR; else keyless
  CHAINLOOP_SIGNING_PASSWORD   its password
  CHAINLOOP_REGISTRY_PASSWORD  of the registry of an image or storage backend
  CHAINLOOP_STATE_DIR          where open attestations are remembered
  CHAINLOOP_RETRY_SECONDS      how long to try when there is no answer
  CHAINLOOP_INSECURE=1         sends the token over http to other machines
  CHAINLOOP_DEBUG=1            shows the stack of an error
  NO_COLOR=1                   no colour

Exit codes: 0 done, 1 failed, 2 usage or bad input, 3 contract not satisfied,
4 policy, 5 authentication, 6 conflict, 75 not now, try again later

Examples:
  $ chainloop server
  $ chainloop attestation init --workflow release --project bedrock
  $ chainloop attestation add --name sbom --value sbom.cdx.json
  $ chainloop attestation push --bundle release.sigstore.json
  $ chainloop workflow run ls --workflow release --project bedrock
`;
}
