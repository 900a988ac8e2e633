import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { TestContext } from 'node:test';

const postgresBinaries = [
  '/usr/lib/postgresql/17/bin',
  '/usr/lib/postgresql/16/bin',
  '/usr/lib/postgresql/15/bin',
  '/usr/local/bin',
  '/usr/bin',
];

/** The folder of `initdb` and `pg_ctl`, or undefined. */
export function postgresBin(): string | undefined {
  return postgresBinaries.find((folder) => existsSync(`${folder}/initdb`) && existsSync(`${folder}/pg_ctl`));
}

/** Debian's browser. */
export const chromiumPath = '/usr/bin/chromium';

const present = {
  'docker-registry': () => runs('docker-registry', ['--version']),
  skopeo: () => runs('skopeo', ['--version']),
  openssl: () => runs('openssl', ['version']),
  rsync: () => runs('rsync', ['--version']),
  faketime: () => runs('faketime', ['--version']),
  chromium: () => existsSync(chromiumPath),
  postgresql: () => postgresBin() !== undefined,
} as const;
export type Need = keyof typeof present;

/** True when the program is on this machine. */
export const has = (program: Need): boolean => present[program]();

/**
 * True when the program is on this machine. Otherwise the test is skipped with a reason that says what to install, or fails when
 * CHAINLOOP_REQUIRE_ALL is set, as CI does: there nothing is skipped.
 */
export function needs(t: TestContext, ...programs: readonly Need[]): boolean {
  const missing = programs.filter((program) => !present[program]());
  if (missing.length === 0) return true;
  const reason = `${missing.join(', ')} not found; install it to run this test (Debian: apt-get install ${missing.join(' ')})`;
  if (process.env.CHAINLOOP_REQUIRE_ALL === '1') throw new Error(reason);
  t.skip(reason);
  return false;
}

function runs(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0;
}
