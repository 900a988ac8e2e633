import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, type Sample, said } from './process.ts';

/** A control plane as a process of its own, with the organization `acme`. */
export type InstalledServer = {
  readonly pid: number;
  readonly url: string;
  readonly dataDir: string;
  /** A folder for whatever belongs to it. */
  readonly home: string;
  /** The environment of an operator: URL, owner token, organization. */
  readonly env: NodeJS.ProcessEnv;
  /** Runs a command of the CLI as this operator, unless `env` says otherwise. */
  cli(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Sample>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts one on a free port and an empty data directory. Without `databaseUrl` its database is the embedded one. */
export async function startInstalledServer(options: {
  /** The program, as `buildPackage` gives it. */
  readonly bin: string;
  readonly databaseUrl?: string | undefined;
  /** More options of the command line. */
  readonly args?: readonly string[];
}): Promise<InstalledServer> {
  const { bin, databaseUrl, args: more = [] } = options;
  await using stack = new AsyncDisposableStack();
  const home = stack.use(await mkdtempDisposable(join(tmpdir(), 'chainloop-process-'))).path;
  const dataDir = join(home, 'data');
  const args = ['server', '--listen', '127.0.0.1:0', '--data-dir', dataDir, '--allow-private-registries', '--log-level', 'warn', ...more];
  const child = spawn(process.execPath, [bin, ...args], {
    env: { ...process.env, DATABASE_URL: databaseUrl ?? '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  stack.defer(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  });
  const [url] = await said(child, /http:\/\/127\.0\.0\.1:\d+/);
  const env: NodeJS.ProcessEnv = {
    CHAINLOOP_URL: url,
    CHAINLOOP_TOKEN: (await readFile(join(dataDir, 'owner-token'), 'utf8')).trim(),
    CHAINLOOP_ORGANIZATION: 'acme',
    XDG_CONFIG_HOME: join(home, 'config'),
    CHAINLOOP_STATE_DIR: join(home, 'state'),
  };
  const cli = (words: readonly string[], other = env) => run({ program: process.execPath, args: [bin, ...words], env: other });
  await cli(['org', 'create', '--name', 'acme']);
  if (child.pid === undefined) throw new Error('the server has no process');
  const resources = stack.move();
  return { pid: child.pid, url, dataDir, home, env, cli, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
