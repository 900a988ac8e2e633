import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stateDirectory } from '../core/adapters/crafting-directory.ts';
import { makeStateDirectory } from '../core/adapters/state-directory.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import { jobKey } from '../core/runner.ts';
import type { Saved } from '../plugin/ending.ts';
import type { Context } from './context.ts';

/**
 * What `chainloop attest` leaves for `chainloop ci-finish`, which the CI system runs at the end of the same job: outside of the checkout, for its
 * owner alone. Nothing in it is secret. Each attestation of a job has its own.
 */
export type JobMemory = {
  all(): readonly Saved[];
  /** Remembers what is known of one by now. */
  keep(what: string, saved: Saved): void;
  forget(): void;
};

/** Undefined outside of CI, where no job ends. */
export async function openJobMemory({ env }: Pick<Context, 'env'>): Promise<JobMemory | undefined> {
  const key = jobKey(env);
  if (key.length === 0) return undefined;
  const folder = join(await stateDirectory({ env, workspace: process.cwd() }), `job-${shortHash(JSON.stringify(key))}`);
  await makeStateDirectory(folder);
  return {
    all: () => readdirSync(folder).flatMap((name) => (name.endsWith('.json') ? [read(join(folder, name))] : [])),
    keep(what, saved) {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const path = join(folder, `${shortHash(what)}.json`);
      writeFileSync(`${path}.${process.pid}`, JSON.stringify(saved), { mode: 0o600 });
      renameSync(`${path}.${process.pid}`, path);
    },
    forget: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Written by this program, in a folder that is its own: only its shape is believed. */
function read(path: string): Saved {
  const saved: Saved = JSON.parse(readFileSync(path, 'utf8'));
  return saved;
}

function shortHash(text: string): string {
  return hexOf(digestOf(text)).slice(0, 32);
}
