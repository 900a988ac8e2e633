import { spawnSync } from 'node:child_process';
import type { Package } from '../test/fakes/package.ts';
import { type Postgres, startPostgres } from '../test/fakes/postgres.ts';
import { postgresBin } from '../test/needs.ts';
import type { Row } from './report.ts';

/** What all groups of rows are given. */
export type Context = {
  readonly installed: Package;
  /** A folder for files, removed at the end. */
  readonly home: string;
  /** Fewer runs and smaller sizes. */
  readonly quick: boolean;
  /** Pairs of what is short, and of what takes seconds. */
  readonly runs: { readonly short: number; readonly long: number };
};

/** For servers that are asked as fast as they answer. */
export const unlimited = ['--token-rate', '0', '--organization-rate', '0'] as const;

/** Rows that belong together; a word of the command line selects them. */
export type Group = (context: Context) => AsyncGenerator<Row>;

/** The rows of a part of a group; what breaks it off is a row too, and keeps no other part from being measured. */
export async function* part(name: string, rows: AsyncGenerator<Row>): AsyncGenerator<Row> {
  try {
    yield* rows;
  } catch (error) {
    process.stderr.write(`  ${name} FAILED: ${error instanceof Error ? error.stack : error}\n`);
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    yield { type: 'failed', name: `${name}: what was to come`, reason: reason.slice(0, 200) };
  }
}

const present = {
  curl: () => runs('curl'),
  openssl: () => runs('openssl', 'version'),
  skopeo: () => runs('skopeo'),
  'docker-registry': () => runs('docker-registry'),
  postgresql: () => postgresBin() !== undefined,
  pgbench: () => pgbench() !== undefined,
  gh: () => runs('gh'),
  'in-toto-run': () => runs('in-toto-run'),
  'in-toto-verify': () => runs('in-toto-verify'),
} as const;
export type Program = keyof typeof present;

/** Those of the programs that are not on this machine. */
export function missing(...programs: readonly Program[]): readonly Program[] {
  return programs.filter((program) => !present[program]());
}

/** The program that comes with PostgreSQL, or undefined. */
export function pgbench(): string | undefined {
  const program = `${postgresBin() ?? ''}/pgbench`;
  return runs(program) ? program : undefined;
}

/** A PostgreSQL that syncs as in production, or undefined where it is not installed. */
export async function openPostgres(): Promise<Postgres | undefined> {
  return missing('postgresql').length === 0 ? startPostgres({ fsync: true }) : undefined;
}

function runs(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args.length === 0 ? ['--version'] : args, { stdio: 'ignore' }).status === 0;
}
