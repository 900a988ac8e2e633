import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { tokenHostsOf } from '../core/adapters/oci/auth.ts';
import { ChainloopError, type Problem } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { gather } from './configuration.ts';
import { type LogLevel, logLevels } from './log.ts';
import { type LoginConfig, type LoginOptions, loginConfig } from './login/config.ts';
import { masterKeyProblem } from './secrets.ts';

/** What the command line of `chainloop server` says: texts as they were typed. */
export type ServerOptions = LoginOptions & {
  /** `HOST:PORT`; port 0 is a free one. Default 127.0.0.1:8080. */
  readonly listen?: string | undefined;
  /** Default `$XDG_DATA_HOME/chainloop`, or `~/.local/share/chainloop`. */
  readonly dataDir?: string | undefined;
  /** The origin that users reach the server by, when a proxy stands in front of it. */
  readonly publicUrl?: string | undefined;
  /** Lets tenants use registries on loopback and private addresses. */
  readonly allowPrivateRegistries?: boolean | undefined;
  /** A folder with the operator's own certificate authority (server/ca/files.ts). Default: the control plane makes one. */
  readonly caDir?: string | undefined;
  /** A file with the issuers whose tokens jobs may exchange; without it GitHub's and GitLab's public ones. */
  readonly issuers?: string | undefined;
  readonly logLevel?: string | undefined;
  /** Requests a second of one token, and of all tokens of an organization; 0: no limit. Here and below: whole numbers. */
  readonly tokenRate?: string | undefined;
  readonly organizationRate?: string | undefined;
  /** Connections of clients to this server, and of this server to PostgreSQL. */
  readonly maxConnections?: string | undefined;
  readonly databaseConnections?: string | undefined;
};

export type ServerConfig = {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly publicUrl?: string | undefined;
  readonly allowPrivateRegistries: boolean;
  /** Token servers of registries that have another name than their registry (CHAINLOOP_REGISTRY_TOKEN_HOSTS). */
  readonly registryTokenHosts: readonly string[];
  /** PostgreSQL; without it the embedded database in `dataDir`. */
  readonly databaseUrl?: string | undefined;
  readonly masterKey?: string | undefined;
  readonly caDir?: string | undefined;
  /** The path of the file of `--issuers`. */
  readonly issuers?: string | undefined;
  /** How people log in; undefined: they do not. */
  readonly login: LoginConfig | undefined;
  readonly logLevel: LogLevel;
  readonly tokenRate: number;
  readonly organizationRate: number;
  readonly maxConnections: number;
  readonly databaseConnections: number;
};

type Environment = Readonly<Record<string, string | undefined>>;

/** The configuration from options and environment (configuration.ts). Throws USAGE with every problem at once. */
export function parseConfig(given: ServerOptions, environment: Environment): ServerConfig {
  const problems: Problem[] = [];
  const report = (path: string, message: string): void => void problems.push({ path, message });
  const { options, env } = gather(given, environment, (problem) => problems.push(problem));

  const address = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/i.exec(options.listen ?? '127.0.0.1:8080');
  const host = address?.[1] ?? address?.[2] ?? '';
  const port = Number(address?.[3]);
  if (address === null || port > 65_535)
    report('--listen', `must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:0, not '${options.listen}'`);

  const publicUrl = options.publicUrl === undefined ? undefined : originOf(options.publicUrl);
  if (options.publicUrl !== undefined && publicUrl === undefined) {
    report('--public-url', 'must be an http or https origin without path, user or query, such as https://chainloop.example.com');
  }

  const logLevel = logLevels.find((level) => level === (options.logLevel ?? 'info'));
  if (logLevel === undefined) report('--log-level', `must be one of ${logLevels.join(', ')}, not '${options.logLevel}'`);

  const databaseUrl = env.DATABASE_URL;
  if (databaseUrl !== undefined && !/^postgres(ql)?:\/\//.test(databaseUrl)) {
    report('DATABASE_URL', 'must begin with postgresql://; leave it unset for the embedded database');
  }
  const masterKey = env.CHAINLOOP_MASTER_KEY;
  const keyProblem = masterKeyProblem(masterKey);
  if (keyProblem !== undefined) problems.push(keyProblem);

  const count = (flag: string, text: string | undefined, otherwise: number, least: number): number => {
    const value = text === undefined ? otherwise : /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least)) report(flag, `must be a whole number from ${least} to 999999, not '${text}'`);
    return value;
  };
  const counts = {
    tokenRate: count('--token-rate', options.tokenRate, limits.tokenRequestsPerSecond, 0),
    organizationRate: count('--organization-rate', options.organizationRate, limits.organizationRequestsPerSecond, 0),
    maxConnections: count('--max-connections', options.maxConnections, limits.connections, 1),
    databaseConnections: count('--database-connections', options.databaseConnections, limits.databaseConnections, 1),
  };

  const login = loginConfig(options, env.CHAINLOOP_OIDC_CLIENT_SECRET, report);

  if (problems.length > 0 || logLevel === undefined) {
    throw new ChainloopError('USAGE', `server: ${problems.map((problem) => `${problem.path} ${problem.message}`).join('; ')}`, {
      problems,
    });
  }
  return {
    host,
    port,
    dataDir: resolve(options.dataDir ?? join(env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'chainloop')),
    publicUrl,
    allowPrivateRegistries: options.allowPrivateRegistries ?? false,
    registryTokenHosts: tokenHostsOf(env),
    databaseUrl,
    masterKey,
    caDir: options.caDir === undefined ? undefined : resolve(options.caDir),
    issuers: options.issuers,
    login,
    logLevel,
    ...counts,
  };
}

/** True when only this machine can connect. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function originOf(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.pathname === '/' && url.search === '';
  return plain && url.hash === '' && url.password === '' ? url.origin : undefined;
}
