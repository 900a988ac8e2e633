import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { freePort } from './listen.ts';

/** A control plane in a process of its own, which can be killed. */
export type KillableServer = {
  readonly url: string;
  readonly ownerToken: string;
  readonly process: ChildProcess;
  /** Sends a signal and waits for the end: the exit code, or null for a signal's death. */
  stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null>;
  /** Resident memory, now and at its highest, in MiB (Linux). */
  memory(): Promise<{ readonly nowMiB: number; readonly peakMiB: number }>;
  /** What it holds after a full collection: the heap, what lies outside of it, and what keeps its event loop alive (sockets, timers, files). */
  held(): Promise<Held>;
  /** What it logged. */
  readonly log: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
};

const Held = z.object({ heapBytes: z.number(), externalBytes: z.number(), resources: z.int() });
export type Held = z.infer<typeof Held>;

/** Starts one on the data directory; ready when this resolves. `listen` is the address of one that was there before. */
export async function startKillableServer(options: {
  readonly dataDir: string;
  readonly listen?: string | undefined;
  readonly databaseUrl?: string | undefined;
  /** More of the environment. */
  readonly env?: Readonly<Record<string, string>>;
}): Promise<KillableServer> {
  const { dataDir, listen = `127.0.0.1:${await freePort()}`, databaseUrl = '' } = options;
  const child = spawn(process.execPath, [join(import.meta.dirname, 'serve.ts'), dataDir], {
    env: { ...process.env, DATABASE_URL: databaseUrl, TEST_LISTEN: listen, ...options.env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  const log: string[] = [];
  const { promise: ready, resolve, reject } = Promise.withResolvers<string>();
  child.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${log.join('\n')}`)));
  const tell: ((held: Held) => void)[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('held ')) return tell.shift()?.(Held.parse(JSON.parse(line.slice('held '.length))));
    log.push(line);
    const url = /"url":"([^"]+)".*control plane is ready/.exec(line)?.[1];
    if (url !== undefined) resolve(url);
  });
  const url = await ready;
  const stop = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal);
      await exited;
    }
    return child.exitCode;
  };
  return {
    url,
    // The second server of a database has none.
    ownerToken: (await readFile(join(dataDir, 'owner-token'), 'utf8').catch(() => '')).trim(),
    process: child,
    stop,
    log,
    async memory() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      const mib = (name: string): number => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
      return { nowMiB: mib('VmRSS'), peakMiB: mib('VmHWM') };
    },
    held() {
      const answer = Promise.withResolvers<Held>();
      tell.push(answer.resolve);
      child.kill('SIGUSR2');
      return Promise.race([answer.promise, exited.then(() => Promise.reject(new Error('the server ended')))]);
    },
    async [Symbol.asyncDispose]() {
      await stop('SIGKILL');
    },
  };
}
