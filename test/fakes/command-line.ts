import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const program = join(import.meta.dirname, '..', '..', 'bin', 'chainloop.js');

/** How a command ended, and what it wrote. */
export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

export type CommandOptions = {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: string;
  readonly cwd?: string;
  /** A program that runs the command, and its arguments: `setpriv …`. */
  readonly through?: readonly string[];
};

/**
 * `chainloop` as a user runs it: each command is a process, in a home of its own, with nothing of the environment of the tests but PATH.
 * `folder` is a temporary directory, gone at the end.
 */
export async function commandLine(env: NodeJS.ProcessEnv = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'chainloop-cli-'));
  const base: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    HOME: folder,
    XDG_CONFIG_HOME: join(folder, 'config'),
    CHAINLOOP_STATE_DIR: join(folder, 'state'),
    CHAINLOOP_RETRY_SECONDS: '0',
    NO_COLOR: '1',
    ...env,
  };
  const start = (args: readonly string[], options: CommandOptions = {}): ChildProcess => {
    const [command = '', ...rest] = [...(options.through ?? []), process.execPath, program, ...args];
    return spawn(command, rest, { cwd: options.cwd ?? folder, env: { ...base, ...options.env }, stdio: 'pipe' });
  };
  const run = async (args: readonly string[], options: CommandOptions = {}): Promise<Ended> => {
    const child = start(args, options);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
      stdout += piece;
    });
    child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
      stderr += piece;
    });
    child.stdin?.end(options.stdin ?? '');
    const [code]: (number | null)[] = await once(child, 'close');
    return { code: code ?? null, stdout, stderr };
  };
  return { folder, env: base, start, run, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
