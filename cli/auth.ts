import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { SessionView } from '../core/people.ts';
import { command, group, text, toggle } from './command.ts';
import { addressOf, connect } from './connect.ts';
import { type Context, print } from './context.ts';
import type { LoginWay } from './login.ts';
import { session } from './session.ts';
import { type Config, configPath, defaultUrl, originOf, readConfig, type Settings, tokenIn, writeConfig } from './settings.ts';
import { formatTime } from './terminal/time.ts';

export const auth = group('auth', 'log in to a control plane', [
  command({
    name: 'login',
    about: 'log in with a browser, or keep a token, for the commands that follow',
    examples: [
      'chainloop auth login --url https://chainloop.example.com',
      'chainloop auth login --device',
      'chainloop auth login --token-file data/owner-token',
      'chainloop auth login --url https://chainloop.example.com < token',
    ],
    details: `On a terminal a browser is opened, which comes back to this machine; --device is for machines without one. A token is read from the file, or
from standard input when that is no terminal: on the command line, other users of this machine would see it. What is kept lies in a file that
only you can read.`,
    flags: {
      tokenFile: text('<path>', 'a file with the token in it'),
      device: toggle('log in with another device, by a code'),
      urlOnly: toggle('show the address, and open no browser'),
      invitation: text('<code>', 'take this invitation'),
    },
    run: async (context, { tokenFile, ...way }) => {
      const settings = await context.settings();
      const withPerson = way.device || way.urlOnly || way.invitation !== undefined || (tokenFile === undefined && context.stdin.isTTY);
      const session = withPerson ? await loginAsPerson(context, way) : undefined;
      const token = session?.token ?? (await readToken(context, tokenFile));
      // Without an organization: who that is may be asked before one is chosen.
      const client = await connect({ ...context, settings: async () => ({ url: settings.url, token }) });
      const actor = await client.auth.whoami.query();
      const only = actor.organizations.length === 1 ? actor.organizations[0]?.name : undefined;
      const mayStay = session === undefined || actor.organizations.some(({ name }) => name === settings.organization);
      const organization = actor.organization ?? (mayStay ? settings.organization : only);
      const kept = await readConfig(context.env);
      // What is kept of the same control plane stays, such as its trusted root.
      const { organization: _, ...same } = isOf(kept, settings) ? kept : {};
      const path = await writeConfig(context.env, {
        ...same,
        url: settings.url,
        token,
        ...(organization === undefined ? {} : { organization }),
      });
      const as = session === undefined ? '' : ` as ${session.name}`;
      context.log.info(`Logged in to ${settings.url}${as}; the token is kept in ${path}`);
      // Nobody has its token any more.
      if (isSession(kept.token) && kept.token !== token && (await endSession(context, ofKept(kept), false)))
        context.log.info('The session that was kept here before is ended');
      if (context.env.CHAINLOOP_TOKEN) context.log.warn('CHAINLOOP_TOKEN is set and goes before the token that is kept');
      print(context, actor, () => []);
    },
  }),
  command({
    name: 'logout',
    about: 'end the session, and forget the token that is kept here',
    examples: ['chainloop auth logout', 'chainloop auth logout --everywhere'],
    details: 'A session ends on the control plane, too. Any other token stays valid until it is revoked.',
    flags: { everywhere: toggle('end all your sessions, those of other machines too') },
    run: async (context, { everywhere }) => {
      const { token, ...kept } = await readConfig(context.env);
      if (everywhere && !isSession(token))
        throw new ChainloopError('USAGE', '--everywhere ends sessions; log in with a browser to have one');
      const ended = isSession(token) && (await endSession(context, ofKept({ ...kept, token }), everywhere));
      if (token !== undefined) await writeConfig(context.env, kept);
      context.log.info(token === undefined ? `There is no token in ${configPath(context.env)}` : 'Logged out');
      print(context, { loggedOut: token !== undefined, ended }, () => []);
    },
  }),
  session,
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
      const { url, organization } = await context.settings();
      print(context, actor, () => [
        {
          rows: [
            ['Control Plane', url],
            ['Kind', actor.kind],
            ['Name', actor.name],
            ['Organization', actor.organization ?? worksIn(actor, organization)],
            ...(actor.role === null ? [] : [['Role', actor.role]]),
            ...(actor.email === null ? [] : [['E-Mail', actor.email]]),
            ...actor.organizations.map(({ name, role }) => [`In ${name}`, role]),
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

/** A login that is for a person; where there is none, who is at a terminal may still give a token. */
async function loginAsPerson(context: Context, way: LoginWay & { readonly device: boolean }): Promise<SessionView | undefined> {
  const [{ loginWithBrowser, loginWithDevice }, { createApi }] = await Promise.all([import('./login.ts'), import('../client/api.ts')]);
  const { url } = await context.settings();
  const api = createApi(addressOf(context, { url }, 5_000));
  try {
    return way.device ? await loginWithDevice(context, api, way.invitation) : await loginWithBrowser(context, api, way);
  } catch (error) {
    const asked = way.device || way.urlOnly || way.invitation !== undefined;
    if (asked || !isChainloopError(error, 'LOGIN_UNSUPPORTED')) throw error;
    return undefined;
  }
}

/** Where somebody works who is not of one organization, as an owner of the instance or a person: what is chosen, or how to choose. */
function worksIn(
  { kind, organizations }: { readonly kind: string; readonly organizations: readonly { readonly name: string }[] },
  named: string | undefined,
): string {
  if (kind === 'user' && organizations.length === 0) {
    return 'none yet: let an owner of one invite you (chainloop org member invite), then: chainloop auth login';
  }
  const chosen = named ?? (organizations.length === 1 ? organizations[0]?.name : undefined);
  if (chosen === undefined) return 'none is chosen: chainloop org use --name NAME';
  const isIn = kind !== 'user' || organizations.some(({ name }) => name === chosen);
  return isIn ? chosen : `${chosen}, which you are not in: chainloop org use --name NAME`;
}

function isSession(token: string | undefined): token is string {
  return token?.startsWith('chl_u_') === true;
}

/** Where what is kept here is for. */
function ofKept({ url, token }: Config): Settings {
  return { url: originOf(url ?? defaultUrl), token };
}

function isOf(kept: Config, { url }: Settings): boolean {
  return originOf(kept.url ?? defaultUrl) === url;
}

/** False when it could not be told to the control plane: then it lasts until it expires. */
async function endSession(context: Context, settings: Settings, everywhere: boolean): Promise<boolean> {
  try {
    const client = await connect({ ...context, settings: async () => settings });
    await client.session.end.mutate({ everywhere });
    return true;
  } catch (error) {
    const over = (['TOKEN_EXPIRED', 'TOKEN_REVOKED', 'UNAUTHENTICATED'] as const).some((code) => isChainloopError(error, code));
    if (!over)
      context.log.warn(`the session could not be ended and lasts until it expires: ${error instanceof Error ? error.message : ''}`);
    return over;
  }
}

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
