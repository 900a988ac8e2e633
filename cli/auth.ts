import { ChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { command, group, text } from './command.ts';
import { connect } from './connect.ts';
import { type Context, print } from './context.ts';
import { configPath, readConfig, tokenIn, writeConfig } from './settings.ts';
import { formatTime } from './terminal/time.ts';

export const auth = group('auth', 'log in to a control plane', [
  command({
    name: 'login',
    about: 'keep a token for the commands that follow',
    examples: ['chainloop auth login --token-file data/owner-token', 'chainloop auth login --url https://chainloop.example.com < token'],
    details: `The token is read from the file, or from standard input: on the command line, other users of this machine would see it. It is
asked for one answer before it is kept, in a file that only you can read.`,
    flags: { tokenFile: text('<path>', 'a file with the token in it') },
    run: async (context, { tokenFile }) => {
      const settings = await context.settings();
      const token = await readToken(context, tokenFile);
      // Without an organization: who that is may be asked before one is chosen.
      const client = await connect({ ...context, settings: async () => ({ url: settings.url, token }) });
      const actor = await client.auth.whoami.query();
      const organization = actor.organization ?? settings.organization;
      const path = await writeConfig(context.env, { url: settings.url, token, ...(organization === undefined ? {} : { organization }) });
      context.log.info(`Logged in to ${settings.url}; the token is kept in ${path}`);
      if (context.env.CHAINLOOP_TOKEN) context.log.warn('CHAINLOOP_TOKEN is set and goes before the token that is kept');
      print(context, actor, () => []);
    },
  }),
  command({
    name: 'logout',
    about: 'forget the token that is kept here; it stays valid until it is revoked',
    examples: ['chainloop auth logout'],
    flags: {},
    run: async (context) => {
      const { token, ...kept } = await readConfig(context.env);
      if (token !== undefined) await writeConfig(context.env, kept);
      context.log.info(token === undefined ? `There is no token in ${configPath(context.env)}` : 'Logged out');
      print(context, { loggedOut: token !== undefined }, () => []);
    },
  }),
  command({
    name: 'whoami',
    about: 'show what the control plane takes you for, and the identity that a job signs as',
    examples: ['chainloop auth whoami'],
    details: `In a CI job without a token it is the job itself, as a binding lets it in; where there are bindings for several workflows,
CHAINLOOP_WORKFLOW and CHAINLOOP_PROJECT say which.`,
    flags: {},
    run: async (context) => {
      const { withoutToken } = await import('./job.ts');
      const actor = await (await connect(await withoutToken(context), { forJobs: true })).auth.whoami.query();
      const { url } = await context.settings();
      print(context, actor, () => [
        {
          rows: [
            ['Control Plane', url],
            ['Kind', actor.kind],
            ['Name', actor.name],
            ['Organization', actor.organization ?? ''],
            ...(actor.role === null ? [] : [['Role', actor.role]]),
            ...(actor.workflow === null ? [] : [['Workflow', `${actor.project ?? ''}/${actor.workflow}`]]),
            ...(actor.identity === null
              ? []
              : [
                  ['Identity', actor.identity.san],
                  ['Vouched By', actor.identity.issuer],
                ]),
            ['Expires At', formatTime(actor.expiresAt ?? 'never')],
          ],
        },
      ]);
    },
  }),
]);

async function readToken(context: Context, path: string | undefined): Promise<string> {
  let given: string;
  if (path !== undefined) {
    const { readLimited } = await import('../core/adapters/files.ts');
    given = new TextDecoder().decode(await readLimited(path, limits.errorBodySizeBytes));
  } else {
    given = context.stdin.isTTY ? await ask(context) : await readAll(context.stdin);
  }
  return tokenIn(given, path ?? 'standard input');
}

/** One line from the terminal, without showing it. */
async function ask({ stdin, stderr }: Context): Promise<string> {
  stderr.write('Token: ');
  stdin.setRawMode(true);
  let typed = '';
  try {
    for await (const piece of stdin) {
      for (const character of String(piece)) {
        if (character === '\r' || character === '\n' || character === '\x04') return typed;
        if (character === '\x03') throw new ChainloopError('USAGE', 'no token was given');
        typed = character === '\x7f' ? typed.slice(0, -1) : typed + character;
      }
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
    stderr.write('\n');
  }
}

async function readAll(stdin: NodeJS.ReadStream): Promise<string> {
  let read = '';
  for await (const piece of stdin) {
    read += String(piece);
    if (read.length > limits.errorBodySizeBytes) throw new ChainloopError('LIMIT_EXCEEDED', 'standard input is too long for a token');
  }
  return read;
}
