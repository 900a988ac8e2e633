import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { ChainloopError } from '../core/errors.ts';
import { systemCode } from '../core/system-code.ts';
import type { Environment } from './context.ts';

/** Where the control plane is, and as whom to speak to it. */
export type Settings = {
  /** An origin, without a slash at the end. */
  readonly url: string;
  readonly organization?: string | undefined;
  readonly token?: string | undefined;
  /** The file of the trusted root that is pinned for this URL. */
  readonly trustRoot?: string | undefined;
  /** What was said for this very command, and how: `--url`, `CHAINLOOP_URL`. The rest is from the configuration. */
  readonly said?: { readonly url?: string | undefined; readonly organization?: string | undefined } | undefined;
};

/** The options that every command takes. */
export type GlobalOptions = { readonly url?: string | undefined; readonly organization?: string | undefined };

export const defaultUrl = 'http://127.0.0.1:8080';

/** What is kept between commands. The token belongs to the URL: it is not sent to another. */
export type Config = { readonly url?: string; readonly organization?: string; readonly token?: string; readonly trustRoot?: string };
const configKeys = ['url', 'organization', 'token', 'trustRoot'] as const;

/** `$XDG_CONFIG_HOME/chainloop/config.json`, or below `~/.config`. */
export function configPath(env: Environment): string {
  return join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'chainloop', 'config.json');
}

/** Flags before environment before configuration file before default. Throws USAGE. */
export async function readSettings(options: GlobalOptions, env: Environment): Promise<Settings> {
  const config = await readConfig(env);
  const url = originOf(options.url || env.CHAINLOOP_URL || config.url || defaultUrl);
  const own = url === originOf(config.url ?? defaultUrl);
  return {
    url,
    organization: options.organization || env.CHAINLOOP_ORGANIZATION || (own ? config.organization : undefined),
    token: env.CHAINLOOP_TOKEN ? tokenIn(env.CHAINLOOP_TOKEN, 'CHAINLOOP_TOKEN') : own ? config.token : undefined,
    trustRoot: own ? config.trustRoot : undefined,
    said: {
      url: options.url ? '--url' : env.CHAINLOOP_URL ? 'CHAINLOOP_URL' : undefined,
      organization: options.organization ? '--organization' : env.CHAINLOOP_ORGANIZATION ? 'CHAINLOOP_ORGANIZATION' : undefined,
    },
  };
}

/** The token in a text, without the space around it. USAGE when it is none; whatever it is instead is not repeated: it may be another secret. */
export function tokenIn(text: string, source: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]{1,512}$/.test(token)) return token;
  throw new ChainloopError('USAGE', `${source}: that is not a token, which is one word that begins with chl_`);
}

/** The origin in the text. Throws USAGE for anything that is more, or not http. */
export function originOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ChainloopError('USAGE', `the URL of the control plane is not http:// or https://, such as ${defaultUrl}`);
  }
  if (url.username !== '' || url.password !== '') {
    throw new ChainloopError('USAGE', `the URL of ${url.host} carries a user or password; give the token in CHAINLOOP_TOKEN instead`);
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new ChainloopError('USAGE', `the URL of the control plane is only scheme, host and port: ${url.origin}`);
  }
  return url.origin;
}

/** The configuration file, empty when there is none. Throws FILE_UNREADABLE and USAGE. */
export async function readConfig(env: Environment): Promise<Config> {
  const path = configPath(env);
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) throw new ChainloopError('USAGE', `${path} is not JSON; correct or remove it`, { cause: error });
    if (systemCode(error) === 'ENOENT') return {};
    throw new ChainloopError('FILE_UNREADABLE', `${path} cannot be read`, { cause: error });
  }
  if (!isConfig(value)) throw new ChainloopError('USAGE', `${path} may only hold the texts ${configKeys.join(', ')}; correct or remove it`);
  return value;
}

function isConfig(value: unknown): value is Config {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.entries(value).every(([key, item]) => configKeys.some((known) => known === key) && typeof item === 'string');
}

/** Writes the configuration file, readable by its owner alone: it may hold a token. FILE_UNREADABLE, DISK_FULL. */
export async function writeConfig(env: Environment, config: Config): Promise<string> {
  const path = configPath(env);
  try {
    await replaceFile(path, `${JSON.stringify(config, null, 3)}\n`);
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new ChainloopError('DISK_FULL', `no space left to write ${path}; make room, and try again`, { cause });
    }
    throw new ChainloopError('FILE_UNREADABLE', `${path} cannot be written (${code}); set XDG_CONFIG_HOME to a folder that can`, {
      cause,
    });
  }
  return path;
}

async function replaceFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw error;
  }
}
