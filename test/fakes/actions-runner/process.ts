import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { StringDecoder } from 'node:string_decoder';

/** From the cancellation of a step to SIGTERM, and from there to SIGKILL of the whole tree. */
export const cancellation = { termAfterMs: 7_500, killAfterMs: 2_500 } as const;

export type Ended = { readonly code: number; readonly durationMs: number };

/** Runs a step's program to its end, or through the ladder of a cancellation. The environment is exactly `env`. */
export async function runProcess(options: {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Lines of both standard streams, as they come. */
  readonly onLine: (line: string) => void;
  readonly cancelled: AbortSignal;
}): Promise<Ended> {
  const { program, args, cwd, env, onLine, cancelled } = options;
  const startedAt = performance.now();
  // A group of its own, so that nothing that it started outlives it.
  const child = spawn(program, args, { cwd, env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const timers: NodeJS.Timeout[] = [];
  const cancel = (): void => {
    child.kill('SIGINT');
    timers.push(setTimeout(() => child.kill('SIGTERM'), cancellation.termAfterMs));
    timers.push(setTimeout(() => killGroup(child.pid), cancellation.termAfterMs + cancellation.killAfterMs));
  };
  cancelled.addEventListener('abort', cancel, { once: true });
  if (cancelled.aborted) cancel();
  const [out, error] = [lines(onLine), lines(onLine)];
  child.stdout.on('data', out.write);
  child.stderr.on('data', error.write);
  try {
    const [code]: unknown[] = await once(child, 'close');
    out.end();
    error.end();
    return { code: typeof code === 'number' ? code : 137, durationMs: performance.now() - startedAt };
  } finally {
    cancelled.removeEventListener('abort', cancel);
    for (const timer of timers) clearTimeout(timer);
    killGroup(child.pid);
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** The runner takes \n, \r\n and a lone \r for the end of a line. */
function lines(onLine: (line: string) => void): { write(piece: Buffer): void; end(): void } {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  const flush = (text: string): void => {
    const parts = text.split(/\r\n|\n|\r/);
    rest = parts.pop() ?? '';
    for (const part of parts) onLine(part);
  };
  return {
    write(piece) {
      const text = rest + decoder.write(piece);
      // A \r at the end may be the first half of \r\n.
      const held = text.endsWith('\r') ? '\r' : '';
      flush(held === '' ? text : text.slice(0, -1));
      rest += held;
    },
    end() {
      flush(rest + decoder.end());
      if (rest !== '') onLine(rest);
    },
  };
}
