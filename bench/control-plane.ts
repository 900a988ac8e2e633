import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { measure } from './measure.ts';

export type BenchControlPlane = AsyncDisposable & {
  readonly pid: number;
  readonly url: string;
  readonly home: string;
  /** The environment of an operator of the organization `bench`. */
  readonly env: NodeJS.ProcessEnv;
  /** The environment of a CI job of the workflow `release`. */
  readonly jobEnv: NodeJS.ProcessEnv;
};

const project = join(import.meta.dirname, '..');
export const cli = join(project, 'dist', 'cli.js');

/** Starts the built control plane as a process of its own, with an organization, a contract and a workflow in it. */
export async function startControlPlane(contract: string, env: NodeJS.ProcessEnv = {}): Promise<BenchControlPlane> {
  const home = await mkdtemp(join(tmpdir(), 'chainloop-bench-'));
  const child = spawn(
    process.execPath,
    [cli, 'server', '--listen', '127.0.0.1:0', '--data-dir', join(home, 'data'), '--allow-private-registries'],
    {
      env: { ...process.env, CHAINLOOP_LOG_LEVEL: 'warn', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const url = await new Promise<string>((resolve, reject) => {
    let text = '';
    const look = (piece: Buffer) => {
      text += piece.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(text);
      if (found !== null) resolve(found[0]);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${text}`)));
  });
  const operator: NodeJS.ProcessEnv = {
    CHAINLOOP_URL: url,
    CHAINLOOP_ORGANIZATION: 'bench',
    CHAINLOOP_TOKEN: (await readFile(join(home, 'data', 'owner-token'), 'utf8')).trim(),
    CHAINLOOP_STATE_DIR: join(home, 'state'),
    XDG_CONFIG_HOME: join(home, 'config'),
  };
  const run = (...args: readonly string[]) => measure({ program: process.execPath, args: [cli, ...args], env: operator });
  await run('org', 'create', '--name', 'bench');
  await run('workflow', 'contract', 'create', '--name', 'release', '-f', contract);
  await run('workflow', 'create', '--name', 'release', '--project', 'bench', '--team', 'core', '--contract', 'release');
  const job = await serviceAccount(url, operator);
  return {
    pid: child.pid ?? 0,
    url,
    home,
    env: operator,
    jobEnv: { ...operator, CHAINLOOP_TOKEN: job },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
      await rm(home, { recursive: true, force: true });
    },
  };
}

const Answer = z.object({ result: z.object({ data: z.object({ token: z.string() }) }) });

async function serviceAccount(url: string, operator: NodeJS.ProcessEnv): Promise<string> {
  const response = await fetch(`${url}/trpc/serviceAccount.create`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${operator.CHAINLOOP_TOKEN ?? ''}`,
      'x-chainloop-organization': 'bench',
      'content-type': 'application/json',
    },
    body: JSON.stringify({ name: 'ci', workflow: 'release', project: 'bench' }),
  });
  return Answer.parse(await response.json()).result.data.token;
}
