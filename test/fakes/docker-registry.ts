import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './listen.ts';

/** The only account of a registry that was started with `auth: 'basic'`; the line is bcrypt with cost 4, so that requests stay fast. */
const account = { username: 'robot', password: 'robot-password' };
const htpasswd = 'robot:$2y$04$zw7cmuif/n4OhtN2f2rLrutL0vUVU5CBPHf3Bh72Oa6Tio/ksfdke\n';

export type Registry = {
  /** `127.0.0.1:PORT` */
  readonly host: string;
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  readonly username: string;
  readonly password: string;
  /** The folder of the blobs, for tests that look or break something there. */
  readonly dataDir: string;
  /** Stops the process (`kill`: with SIGKILL, else SIGTERM) and starts it again on the same port and folder. */
  restart(options?: { readonly kill?: boolean }): Promise<void>;
  /** Stops the process and leaves the folder; `start` brings it back. */
  stop(options?: { readonly kill?: boolean }): Promise<void>;
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Debian's docker-registry on a free loopback port. Guard the test with `needs(t, 'docker-registry')`. */
export async function startRegistry(
  options: { readonly auth?: 'none' | 'basic'; readonly dataDir?: string; readonly delete?: boolean } = {},
): Promise<Registry> {
  const folder = await mkdtemp(join(tmpdir(), 'chainloop-registry-'));
  const dataDir = options.dataDir ?? join(folder, 'data');
  await writeFile(join(folder, 'htpasswd'), htpasswd);
  let child: ChildProcess | undefined;
  const port = await freePort();

  async function start(): Promise<void> {
    const config = {
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: dataDir },
        delete: { enabled: options.delete ?? true },
        maintenance: { uploadpurging: { enabled: false } },
      },
      // Layers that lie elsewhere are taken.
      validation: { manifests: { urls: { allow: ['^https://'] } } },
      // A fixed secret lets an upload that was begun before a restart go on after it.
      http: { addr: `127.0.0.1:${port}`, secret: 'a fixed secret of the tests' },
      ...(options.auth === 'basic' ? { auth: { htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } } } : {}),
    };
    await writeFile(join(folder, 'config.yml'), JSON.stringify(config));
    const started = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: ['ignore', 'ignore', 'pipe'] });
    child = started;
    await listening(started);
  }

  async function stop(how: { readonly kill?: boolean } = {}): Promise<void> {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const exited = once(running, 'exit');
    running.kill(how.kill === true ? 'SIGKILL' : 'SIGTERM');
    await exited;
  }

  await start();
  return {
    ...account,
    host: `127.0.0.1:${port}`,
    origin: `http://127.0.0.1:${port}`,
    dataDir,
    start,
    stop,
    async restart(how) {
      await stop(how);
      await start();
    },
    async [Symbol.asyncDispose]() {
      await stop({ kill: true });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Resolves when it says so; the rest of the log is read and dropped, so that the pipe never fills. */
function listening(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    const seen: string[] = [];
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`docker-registry ended with ${code}: ${seen.join('\n')}`)));
    if (child.stderr === null) return reject(new Error('docker-registry has no stderr'));
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (seen.length < 50) seen.push(line);
      if (line.includes('listening on 127.0.0.1:')) resolve();
    });
  });
}
