import { readFileSync } from 'node:fs';
import type { Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { ServerOptions } from './config.ts';

/** One thing that can be said of a server. docs/configuration.md is made of these (tools/configuration-reference.ts). */
export type Setting = {
  /** Its option of the command line; absent: by environment alone, since the command line can be seen by others. */
  readonly option?: keyof ServerOptions;
  /** Its variable. An option comes before it. */
  readonly variable: string;
  /** As Markdown; absent: there is none. */
  readonly otherwise?: string;
  readonly about: string;
  /** A secret: `<variable>_FILE` may name a file that holds it, as orchestrators give them. */
  readonly secret?: true;
};

export const settings: readonly Setting[] = [
  {
    option: 'listen',
    variable: 'CHAINLOOP_LISTEN',
    otherwise: '`127.0.0.1:8080`',
    about: '`HOST:PORT`, IPv6 in brackets; port 0 is a free one',
  },
  {
    option: 'dataDir',
    variable: 'CHAINLOOP_DATA_DIR',
    otherwise: '`$XDG_DATA_HOME/chainloop`, or `~/.local/share/chainloop`',
    about: 'evidence on disk, the embedded database, the master key unless it is given, the owner token; made with mode 0700',
  },
  {
    option: 'publicUrl',
    variable: 'CHAINLOOP_PUBLIC_URL',
    about:
      'how users reach it when a proxy stands in front: an http or https origin. Also where OCI clients log in, the audience of CI tokens and the issuer of certificates',
  },
  {
    option: 'allowPrivateRegistries',
    variable: 'CHAINLOOP_ALLOW_PRIVATE_REGISTRIES',
    otherwise: '`0`',
    about: '`1`: organizations may store evidence in registries on private and loopback addresses',
  },
  {
    option: 'issuers',
    variable: 'CHAINLOOP_ISSUERS',
    otherwise: 'GitHub, GitLab.com',
    about: 'a file with the CI systems whose tokens are trusted ([federation.md](federation.md)), at most 64 KiB',
  },
  {
    option: 'oidcIssuer',
    variable: 'CHAINLOOP_OIDC_ISSUER',
    otherwise: 'people use tokens',
    about: 'the OpenID provider that people log in with ([people.md](people.md)), exactly as its ID tokens have it',
  },
  {
    option: 'oidcClientId',
    variable: 'CHAINLOOP_OIDC_CLIENT_ID',
    about: 'what the provider calls this control plane',
  },
  {
    variable: 'CHAINLOOP_OIDC_CLIENT_SECRET',
    otherwise: 'a public client',
    about: 'its secret there',
    secret: true,
  },
  {
    option: 'oidcScopes',
    variable: 'CHAINLOOP_OIDC_SCOPES',
    otherwise: '`profile email`',
    about: 'what the provider is asked for beside `openid`, with spaces between them',
  },
  {
    option: 'sessionHours',
    variable: 'CHAINLOOP_SESSION_HOURS',
    otherwise: `${limits.sessionHours}`,
    about: `how long somebody stays logged in, at most ${limits.sessionHoursMost}`,
  },
  {
    option: 'sessionIdleMinutes',
    variable: 'CHAINLOOP_SESSION_IDLE_MINUTES',
    otherwise: 'as long as that',
    about: 'how long, when nothing is done',
  },
  {
    option: 'caDir',
    variable: 'CHAINLOOP_CA_DIR',
    otherwise: 'it makes them',
    about: 'a folder with your own certificate and time-stamping authorities ([trust.md](trust.md))',
  },
  {
    option: 'logLevel',
    variable: 'CHAINLOOP_LOG_LEVEL',
    otherwise: '`info`',
    about: '`debug`, `info`, `warn`, `error`: JSON lines on stderr',
  },
  {
    option: 'tokenRate',
    variable: 'CHAINLOOP_TOKEN_RATE',
    otherwise: `${limits.tokenRequestsPerSecond}`,
    about: `requests a second of one token, on and on; ${limits.rateBurstSeconds} s of them may come at once. \`0\`: no limit ([operating.md](operating.md#limits))`,
  },
  {
    option: 'organizationRate',
    variable: 'CHAINLOOP_ORGANIZATION_RATE',
    otherwise: `${limits.organizationRequestsPerSecond}`,
    about: 'the same for all tokens of an organization together',
  },
  {
    option: 'maxConnections',
    variable: 'CHAINLOOP_MAX_CONNECTIONS',
    otherwise: `${limits.connections}`,
    about: 'connections of clients; more are closed at once',
  },
  {
    option: 'databaseConnections',
    variable: 'CHAINLOOP_DATABASE_CONNECTIONS',
    otherwise: `${limits.databaseConnections}`,
    about: 'connections of this server to PostgreSQL',
  },
  {
    variable: 'DATABASE_URL',
    otherwise: 'the embedded database, in the data directory',
    about: 'PostgreSQL 15 or newer: `postgresql://user:password@host:5432/database?sslmode=verify-full`',
    secret: true,
  },
  {
    variable: 'CHAINLOOP_MASTER_KEY',
    otherwise: 'the file `master-key` in the data directory, made at the first start',
    about:
      '32 bytes in base64 or hex (`openssl rand -base64 32`): seals registry credentials and the keys of the authorities. The same on all servers',
    secret: true,
  },
  {
    variable: 'CHAINLOOP_REGISTRY_TOKEN_HOSTS',
    about: 'hosts, beside a registry itself, that may ask for its credentials, with commas between them',
  },
];

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * What was said: options before variables, and secrets from their files. An empty variable is one that is not set. Every problem is reported, and none
 * repeats a secret.
 */
export function gather(
  options: ServerOptions,
  env: Environment,
  report: (problem: Problem) => void,
): { readonly options: ServerOptions; readonly env: Environment } {
  const gathered: Record<string, string | boolean | undefined> = {};
  const variables: Record<string, string | undefined> = { ...env };
  for (const { option, variable, secret } of settings) {
    const value = env[variable] || (secret === true ? fromFile(variable, env, report) : undefined);
    variables[variable] = value;
    if (option === 'allowPrivateRegistries') gathered[option] = switchOf(variable, value, report);
    else if (option !== undefined) gathered[option] = value;
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== false));
  return { options: { ...gathered, ...given }, env: variables };
}

function fromFile(variable: string, env: Environment, report: (problem: Problem) => void): string | undefined {
  const path = env[`${variable}_FILE`];
  if (path === undefined || path === '') return undefined;
  try {
    return readFileSync(path, 'utf8').trim() || undefined;
  } catch {
    report({ path: `${variable}_FILE`, message: `names ${path}, which cannot be read` });
    return undefined;
  }
}

function switchOf(variable: string, value: string | undefined, report: (problem: Problem) => void): boolean {
  if (value !== undefined && !/^(?:[01]|true|false)$/.test(value)) report({ path: variable, message: `must be 1 or 0, not '${value}'` });
  return value === '1' || value === 'true';
}
