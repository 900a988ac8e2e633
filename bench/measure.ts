import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** One finished process: wall time, and the high-water mark of its resident memory where /proc tells it (Linux). */
export type Sample = { readonly seconds: number; readonly peakBytes: number | undefined };

/** One line of the report. `ratio` is ours / reference, pair by pair. */
export type Row = {
  readonly name: string;
  readonly ours: string;
  readonly reference?: string | undefined;
  readonly ratio?: Spread | undefined;
  readonly goal?: string | undefined;
};

export type Spread = { readonly median: number; readonly min: number; readonly max: number };

/** Median, minimum and maximum of some numbers; at least one. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** The high-water mark of a process's resident memory, in bytes. */
export function peakOf(pid: number): number | undefined {
  try {
    const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return found?.[1] === undefined ? undefined : Number(found[1]) * 1024;
  } catch {
    return undefined;
  }
}

export type Command = {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly before?: () => Promise<void>;
};

/** Runs a command to its end, output thrown away. Throws when it fails, with what it said. */
export async function measure(command: Command): Promise<Sample> {
  await command.before?.();
  const startedAt = performance.now();
  const child = spawn(command.program, command.args, { env: { ...process.env, ...command.env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (piece: Buffer) => {
    said = (said + piece.toString()).slice(-2000);
  });
  let peakBytes: number | undefined;
  const timer = setInterval(() => {
    peakBytes = peakOf(child.pid ?? 0) ?? peakBytes;
  }, 10);
  const [code]: unknown[] = await once(child, 'close');
  clearInterval(timer);
  if (code !== 0) throw new Error(`${command.program} ${command.args.join(' ')} ended with ${String(code)}: ${said}`);
  return { seconds: (performance.now() - startedAt) / 1000, peakBytes };
}

/** Two commands in turn, A B A B …, after one warm-up each: the ratio holds when the speed of the machine drifts. */
export async function pairs(a: Command, b: Command, count: number): Promise<{ a: readonly Sample[]; b: readonly Sample[]; ratio: Spread }> {
  await measure(a);
  await measure(b);
  const samples = { a: [] as Sample[], b: [] as Sample[] };
  for (let index = 0; index < count; index++) {
    samples.a.push(await measure(a));
    samples.b.push(await measure(b));
  }
  return { ...samples, ratio: spread(samples.a.map((sample, index) => sample.seconds / (samples.b[index]?.seconds ?? Number.NaN))) };
}

export function seconds(samples: readonly Sample[]): string {
  const { median } = spread(samples.map((sample) => sample.seconds));
  return median < 1 ? `${(median * 1000).toFixed(0)} ms` : `${median.toFixed(2)} s`;
}

export function peak(samples: readonly Sample[]): string {
  const known = samples.flatMap((sample) => (sample.peakBytes === undefined ? [] : [sample.peakBytes]));
  return known.length === 0 ? 'memory unknown' : `${(spread(known).max / 1024 ** 2).toFixed(0)} MiB`;
}
