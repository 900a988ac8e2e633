import type { TestContext } from 'node:test';
import * as z from 'zod';

/** A row of docs/reliability.md: what a test did to the product, how often, and what came of it. A test that fails has no row. */
export const Row = z.object({
  /** `F3`: a row of the table of faults. */
  fault: z.string(),
  what: z.string(),
  trials: z.int(),
  /** What the person at the command line sees. */
  sees: z.string(),
  /** What is in storage and database afterwards. */
  stored: z.string(),
  /** Measured beside it. */
  figure: z.string().optional(),
  /** What another tool does with the same fault in the same run. */
  peer: z.string().optional(),
  seed: z.int().optional(),
});
export type Row = z.infer<typeof Row>;

/** Which share of the long form is run, in percent; set by `npm run reliability`. */
const share = Number(process.env.CHAINLOOP_RELIABILITY ?? 0);
/** True under `npm run reliability`: many trials, and what takes minutes. */
export const isLong = share > 0;
/** How often a fault is tried: a few times in CI, often enough to bound its rate in the long form. */
export const trials = (short: number, long: number): number => Math.max(short, Math.ceil((long * share) / 100));
export const seed = Number(process.env.CHAINLOOP_SEED ?? 20261123);

const mark = 'reliability ';

/** Hands the row to `npm run reliability`. All trials went well: the assertions of the test have said so. */
export function record(t: TestContext, row: Row): void {
  t.diagnostic(
    process.env.CHAINLOOP_RELIABILITY === undefined
      ? `${row.fault}: ${row.trials} trials, 0 failures`
      : `${mark}${JSON.stringify(Row.parse(row))}`,
  );
}

/** The row in a diagnostic of a test, if there is one. */
export function recorded(diagnostic: string): Row | undefined {
  return diagnostic.startsWith(mark) ? Row.parse(JSON.parse(diagnostic.slice(mark.length))) : undefined;
}

/** Mulberry32: small, seeded, good enough to choose instants and places. */
export function generator(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
