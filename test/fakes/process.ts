import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';

/** One process that has ended well: wall time, and its peak of resident memory where /proc tells it (Linux). */
export type Sample = { readonly seconds: number; readonly peakBytes: number | undefined; readonly stdout: string };

export type Command = {
  readonly program: string;
  readonly args: readonly string[];
  /** Beside those of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  readonly cwd?: string | undefined;
};

/** True where the peak of a process can be read and reset. */
export const tellsMemory = process.platform === 'linux';

/** The peak of a process's resident memory, in bytes (proc(5), VmHWM). Undefined when it is gone, or nothing tells. */
export function peakOf(pid: number | undefined): number | undefined {
  return statusOf(pid, 'VmHWM');
}

/** What of a process is in memory now, in bytes. */
export function residentOf(pid: number | undefined): number | undefined {
  return statusOf(pid, 'VmRSS');
}

/** From now on the peak is that of what comes (proc(5), /proc/pid/clear_refs). */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

function statusOf(pid: number | undefined, field: string): number | undefined {
  try {
    const found = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found?.[1] === undefined ? undefined : Number(found[1]) * 1024;
  } catch {
    return undefined;
  }
}

/** Runs a command to its end. Throws when it fails, with what it said. */
export async function run(command: Command): Promise<Sample> {
  const startedAt = performance.now();
  const child = spawn(command.program, command.args, {
    env: { ...process.env, ...command.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: command.cwd,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (piece: Buffer) => {
    stdout += piece.toString();
  });
  child.stderr.on('data', (piece: Buffer) => {
    stderr = (stderr + piece.toString()).slice(-2000);
  });
  let peakBytes: number | undefined;
  const timer = setInterval(() => {
    peakBytes = peakOf(child.pid) ?? peakBytes;
  }, 10);
  const [code]: unknown[] = await once(child, 'close').finally(() => clearInterval(timer));
  const seconds = (performance.now() - startedAt) / 1000;
  if (code !== 0) throw new Error(`${command.program} ${command.args.join(' ')} ended with ${String(code)}: ${stderr}`);
  return { seconds, peakBytes, stdout };
}

/** Resolves with the first match in what the process says. Throws when it ends before. */
export function said(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = '';
    const look = (piece: Buffer): void => {
      // Read on afterwards, so that the pipe never fills, but keep nothing.
      if (text === 'found') return;
      text += piece.toString();
      const found = pattern.exec(text);
      if (found === null) return;
      text = 'found';
      resolve(found);
    };
    child.stdout?.on('data', look);
    child.stderr?.on('data', look);
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`the process ended with ${code ?? signal}: ${text}`)));
  });
}
