import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Api, createApi } from '../../client/api.ts';
import type { DatabaseOptions } from '../../db/client.ts';
import { parseConfig, type ServerOptions } from '../../server/config.ts';
import type { Timeouts } from '../../server/http.ts';
import { createLog } from '../../server/log.ts';
import { startServer } from '../../server/main.ts';
import { type Kind, migratedSnapshot } from '../databases.ts';
import { type Postgres, startPostgres } from './postgres.ts';

/** A real control plane in this process, on a free loopback port and a temporary data directory. */
export type ControlPlane = {
  readonly url: string;
  readonly dataDir: string;
  readonly ownerToken: string;
  /** Every line that the server logged. */
  readonly log: readonly string[];
  /** A client with the token; the owner's needs an organization for most things. */
  api(token: string, organization?: string): Api;
  /** An organization, and an API token of it that may do everything. */
  createOrganization(name: string): Promise<{ readonly id: string; readonly name: string; readonly token: string; readonly api: Api }>;
  /** A service account of a workflow, which is made (with its project and contract) where it is not there. */
  createServiceAccount(
    api: Api,
    options: { readonly workflow: string; readonly project: string; readonly contract?: string },
  ): Promise<string>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type ControlPlaneOptions = {
  /** Default: PGlite in memory. PostgreSQL must be installed: ask needs(t, 'postgresql') first. */
  readonly database?: Kind | DatabaseOptions;
  readonly options?: ServerOptions;
  /** Variables of its environment: none of the tests' own. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly now?: () => Date;
  readonly timeouts?: Timeouts;
  /** A data directory that stays; without it, a temporary one. */
  readonly dataDir?: string;
};

/** Starts one. */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const { database = 'pglite', now, timeouts, options: serverOptions } = options;
  await using stack = new AsyncDisposableStack();
  const dataDir = options.dataDir ?? stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-server-'))).path;
  const log: string[] = [];
  const config = parseConfig(
    { listen: '127.0.0.1:0', dataDir, logLevel: 'debug', allowPrivateRegistries: true, ...serverOptions },
    options.environment ?? {},
  );
  const databaseOptions = await databaseOf(database, stack);
  const server = await startServer(config, {
    log: createLog('debug', { write: (line: string) => void log.push(line) }),
    version: 'test',
    now,
    timeouts,
    ...(databaseOptions !== undefined && { database: databaseOptions }),
  });
  stack.defer(() => server.close());
  const { url } = server;
  const ownerToken = server.ownerToken ?? (await readFile(join(dataDir, 'owner-token'), 'utf8')).trim();
  const api = (token: string, organization?: string): Api => createApi({ url, token, organization, version: 'test', retryBudgetMs: 2_000 });
  const resources = stack.move();
  return {
    url,
    dataDir,
    ownerToken,
    log,
    api,
    async createOrganization(name) {
      const { id } = await api(ownerToken).organization.create.mutate({ name });
      const { token } = await api(ownerToken, name).apiToken.create.mutate({ name: 'test', role: 'owner' });
      return { id, name, token, api: api(token) };
    },
    async createServiceAccount(operator, { workflow, project, contract }) {
      const known = await operator.workflow.list.query({ project });
      if (!known.items.some(({ name }) => name === workflow)) await operator.workflow.create.mutate({ name: workflow, project, contract });
      const name = `job-${Math.random().toString(36).slice(2)}`;
      return (await operator.serviceAccount.create.mutate({ name, workflow, project })).token;
    },
    close: () => server.close(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function databaseOf(database: Kind | DatabaseOptions, stack: AsyncDisposableStack): Promise<DatabaseOptions | undefined> {
  if (typeof database === 'object') return database;
  if (database === 'pglite') return { memory: await migratedSnapshot() };
  const postgres: Postgres = stack.use(await startPostgres());
  return { databaseUrl: await postgres.createDatabase() };
}
