import { type Command, run } from '../test/fakes/process.ts';

export type Spread = { readonly median: number; readonly min: number; readonly max: number };

/** Median, minimum and maximum of at least one number. */
export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    median: percentile(sorted, 0.5),
    min: sorted[0] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  };
}

/** Of numbers in ascending order: the one that this share of them does not exceed. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

/** Two things measured in turn, A B A B …, so that the ratios hold while the speed of the machine drifts. */
export type Pairs = { readonly ours: Spread; readonly reference: Spread; readonly ratio: Spread };

/** `count` pairs, after one of each that does not count. */
export async function pairs(count: number, ours: () => Promise<number>, reference: () => Promise<number>): Promise<Pairs> {
  const [own, other] = await rounds(count, [ours, reference]);
  return paired(own, other);
}

/** As `pairs`, of several: what each gave, round by round. */
export async function rounds(count: number, calls: readonly (() => Promise<number>)[]): Promise<readonly (readonly number[])[]> {
  for (const call of calls) await call();
  const found = calls.map((): number[] => []);
  for (let index = 0; index < count; index++) {
    for (const [which, call] of calls.entries()) found[which]?.push(await call());
  }
  return found;
}

/** Two of the same rounds. */
export function paired(ours: readonly number[] = [], reference: readonly number[] = []): Pairs {
  return {
    ours: spread(ours),
    reference: spread(reference),
    ratio: spread(ours.map((value, index) => value / (reference[index] ?? Number.NaN))),
  };
}

/** Seconds that a command takes, after what is to be done before. Its peak of resident memory, in bytes, is added to `peaks`. */
export function timed(
  command: Command | (() => Command),
  options: { readonly before?: () => Promise<void>; readonly peaks?: number[] } = {},
) {
  return async (): Promise<number> => {
    await options.before?.();
    const { seconds, peakBytes } = await run(typeof command === 'function' ? command() : command);
    if (peakBytes !== undefined) options.peaks?.push(peakBytes);
    return seconds;
  };
}

/** Times of `count` calls one after the other, in ms, ascending. */
export async function times(count: number, call: () => Promise<unknown>): Promise<readonly number[]> {
  const found: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedAt = performance.now();
    await call();
    found.push(performance.now() - startedAt);
  }
  return found.sort((a, b) => a - b);
}

export type Load = { readonly perSecond: number; readonly p50Ms: number; readonly p99Ms: number };

/**
 * `clients` that call one after the other, for some seconds after one that does not count. Each makes at least one call that counts:
 * where a call takes longer than that, the rate is low, and not nothing.
 */
export async function load(clients: number, seconds: number, call: (client: number) => Promise<unknown>): Promise<Load> {
  const durations: number[] = [];
  const countsFrom = performance.now() + 1000;
  const until = countsFrom + seconds * 1000;
  let endedAt = until;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let counted = false; ; ) {
        const startedAt = performance.now();
        if (startedAt > until && counted) return;
        await call(client);
        if (startedAt < countsFrom) continue;
        counted = true;
        endedAt = Math.max(endedAt, performance.now());
        durations.push(performance.now() - startedAt);
      }
    }),
  );
  durations.sort((a, b) => a - b);
  return {
    perSecond: (durations.length / (endedAt - countsFrom)) * 1000,
    p50Ms: percentile(durations, 0.5),
    p99Ms: percentile(durations, 0.99),
  };
}
