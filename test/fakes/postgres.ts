import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { postgresBin } from '../needs.ts';
import { freePort } from './listen.ts';

/** A real PostgreSQL on a free loopback port, gone with this process however that ends. */
export type Postgres = {
  /** A plain owner of its database, with CREATEROLE and CREATEDB: what production needs, and no more. */
  readonly url: string;
  /** The superuser. */
  readonly adminUrl: string;
  /** A new, empty database, owned by the plain user. */
  createDatabase(): Promise<string>;
  /** Stops it, `immediate` as a crash does, and starts it again on the same port. Resolves when it takes connections. */
  restart(mode: 'fast' | 'immediate'): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const stopSignals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** Starts one. `fsync` is off unless asked for: nothing here outlives a power cut. `folder`: where its own folder is made. */
export async function startPostgres(options: { readonly fsync?: boolean; readonly folder?: string } = {}): Promise<Postgres> {
  const { fsync = false } = options;
  const bin = postgresBin();
  if (bin === undefined) throw new Error('PostgreSQL is not installed; ask needs(t, "postgresql") first');
  const folder = mkdtempSync(join(options.folder ?? tmpdir(), 'chainloop-postgres-'));
  const user = unprivileged();
  if (user !== undefined) chownSync(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const initdb = [join(bin, 'initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'] as const;
  execFileSync(initdb[0], initdb.slice(1), { ...user, stdio: 'ignore', cwd: folder });

  // Ends the server and removes its folder when this process is gone, also by kill -9: then its standard input ends.
  const watchdog = spawn(
    'sh',
    ['-c', 'cat; kill -QUIT $(head -1 "$1/data/postmaster.pid"); rm -rf "$1" || { sleep 1; rm -rf "$1"; }', 'sh', folder],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  watchdog.unref();
  if (watchdog.stdin !== null && 'unref' in watchdog.stdin && typeof watchdog.stdin.unref === 'function') watchdog.stdin.unref();

  const port = await freePort();
  const start = () => launch(join(bin, 'postgres'), data, port, fsync, user);
  let server = await start();
  const urlOf = (name: string, database: string) => `postgres://${name}@127.0.0.1:${port}/${database}`;
  const adminUrl = urlOf('postgres', 'postgres');
  const asAdmin = async (...statements: string[]) => {
    const client = new pg.Client({ connectionString: adminUrl });
    await client.connect();
    for (const statement of statements) await client.query(statement);
    await client.end();
  };
  await asAdmin('create role chainloop login createrole createdb', 'create database chainloop owner chainloop');

  return {
    url: urlOf('chainloop', 'chainloop'),
    adminUrl,
    async createDatabase() {
      const name = `test_${randomUUID().replaceAll('-', '')}`;
      await asAdmin(`create database ${name} owner chainloop`);
      return urlOf('chainloop', name);
    },
    async restart(mode) {
      await end(server, stopSignals[mode]);
      server = await start();
    },
    async [Symbol.asyncDispose]() {
      await end(server, 'SIGQUIT');
      watchdog.stdin?.end();
    },
  };
}

async function end(server: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  // One that has ended by itself says so no more.
  if (server.exitCode !== null || server.signalCode !== null) return;
  const exited = once(server, 'exit');
  server.ref();
  server.kill(signal);
  await exited;
}

/** Starts the server process and waits until it says that it is ready. */
async function launch(
  program: string,
  data: string,
  port: number,
  fsync: boolean,
  user: { readonly uid: number; readonly gid: number } | undefined,
): Promise<ChildProcess> {
  const settings = [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    `unix_socket_directories=${data}`,
    'max_connections=200',
    ...(fsync ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']),
  ];
  const server = spawn(program, ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    ...user,
    cwd: data,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const said: string[] = [];
  for await (const line of createInterface({ input: server.stderr })) {
    said.push(line);
    if (line.includes('database system is ready to accept connections')) {
      // Read on, so that the pipe never fills, but do not keep this process alive for it.
      server.stderr.resume();
      server.unref();
      if ('unref' in server.stderr && typeof server.stderr.unref === 'function') server.stderr.unref();
      return server;
    }
  }
  throw new Error(`PostgreSQL did not start:\n${said.join('\n')}`);
}

/** PostgreSQL refuses to run as root: then it is the user that the package made. */
function unprivileged(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const number = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: number('-u'), gid: number('-g') };
}
