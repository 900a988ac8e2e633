import { randomUUID } from 'node:crypto';
import { lstat, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { CiTokenSource } from '../core/adapters/ci-token.ts';
import { stateDirectory } from '../core/adapters/crafting-directory.ts';
import { readLimited, writeFileAtomically } from '../core/adapters/files.ts';
import { explained, makeStateDirectory } from '../core/adapters/state-directory.ts';
import { digestOf, hexOf } from '../core/digest.ts';
import { ChainloopError, isChainloopError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type Env, jobKey } from '../core/runner.ts';
import type { ApiOptions } from './api.ts';
import { exchangeFrom, type RunCredential, type WorkflowChoice } from './exchange.ts';

/** The run credential of a job, over all its steps. */
export type KeptCredential = {
  /** One that is good for a minute at least: the one that is kept, or a new one. Throws as `exchangeFrom` does. */
  current(): Promise<RunCredential>;
  /** Deletes what is kept. */
  forget(): Promise<void>;
};

/** A credential is not used in its last minute: a request may take as long. */
const reserveMs = 60_000;
/** How long another step of the job is waited for, that is exchanging the same token. */
const otherStepMs = 20_000;
const prefix = 'run-credential-';
const marker = 'exchanging-';

const Kept: z.ZodType<RunCredential> = z.strictObject({
  token: z.string(),
  expiresAt: z.iso.datetime(),
  organization: z.string(),
  project: z.string(),
  workflow: z.string(),
  identity: z.strictObject({ san: z.string(), issuer: z.string() }),
});

/**
 * Exchanges the token of the CI system once, and keeps the credential, which alone is written: outside of the workspace, for its owner alone
 * (0600), by control plane and job. The token of a GitLab job can be exchanged only once, so every step of it goes on with the same.
 */
export function keepCredential(deps: {
  readonly env: Env;
  readonly source: CiTokenSource;
  readonly options: Omit<ApiOptions, 'token'>;
  readonly choice?: WorkflowChoice | undefined;
  /** The current folder: what is kept is kept outside of its checkout. */
  readonly workspace: string;
  readonly now: () => Date;
}): KeptCredential {
  const { env, source, options, choice = {}, now } = deps;
  let inMemory: RunCredential | undefined;
  let underWay: Promise<RunCredential> | undefined;

  async function folders() {
    const root = await stateDirectory(deps);
    // The secret that the CI system gave this job tells it apart also where nothing else does.
    const secret = digestOf(env.ACTIONS_ID_TOKEN_REQUEST_TOKEN || env.CHAINLOOP_ID_TOKEN || '');
    const key = hexOf(digestOf(JSON.stringify([new URL(options.url).origin, jobKey(env), secret]))).slice(0, 32);
    return { root, own: join(root, `${prefix}${key}`) };
  }

  function isGood(credential: RunCredential | undefined): credential is RunCredential {
    if (credential === undefined || new Date(credential.expiresAt).getTime() - now().getTime() < reserveMs) return false;
    const { organization, workflow, project } = credential;
    const chosen = [options.organization ?? organization, choice.workflow ?? workflow, choice.project ?? project];
    return JSON.stringify(chosen) === JSON.stringify([organization, workflow, project]);
  }

  async function kept(): Promise<RunCredential | undefined> {
    const credential = await read(join((await folders()).own, 'credential.json'));
    return isGood(credential) ? credential : undefined;
  }

  async function renew(): Promise<RunCredential> {
    const found = await kept();
    if (found !== undefined) return found;
    const { root, own } = await folders();
    await makeStateDirectory(own);
    const ours = `${marker}${randomUUID()}`;
    await explained(own, () => writeFile(join(own, ours), '', { flag: 'wx', mode: 0o600 }));
    try {
      const made = await exchangeFrom(source, options, choice);
      await writeFileAtomically(join(own, 'credential.json'), Buffer.from(JSON.stringify(Kept.parse(made))), 0o600);
      await sweep(root, now());
      return made;
    } catch (error) {
      // A token that is good once may have been exchanged by another step of the job.
      if (source.platform !== 'gitlab' || !isChainloopError(error, 'UNAUTHENTICATED')) throw error;
      // Nor does anybody wait for this one any more: two steps with a token that is no good would wait for each other.
      await rm(join(own, ours), { force: true });
      const other = (await othersDone(own)) ? await kept() : undefined;
      if (other !== undefined) return other;
      const before = await read(join(own, 'credential.json'));
      throw before === undefined || isGood(before) ? error : outlasted(before, error);
    } finally {
      await rm(join(own, ours), { force: true });
    }
  }

  return {
    async current() {
      if (isGood(inMemory)) return inMemory;
      underWay ??= renew().finally(() => {
        underWay = undefined;
      });
      inMemory = await underWay;
      return inMemory;
    },
    async forget() {
      inMemory = undefined;
      await rm((await folders()).own, { recursive: true, force: true });
    },
  };
}

function outlasted({ expiresAt, workflow, project }: RunCredential, cause: ChainloopError): ChainloopError {
  return new ChainloopError(
    'TOKEN_EXPIRED',
    `run credential: that of this job, for workflow '${workflow}' of project '${project}', is good until ${expiresAt}, and GitLab's token is exchanged once; attest one workflow, at the end of the job or in a job of its own`,
    { cause },
  );
}

/** What is in the file, when it is ours and readable by nobody else; anything else is as good as nothing, and replaced. */
async function read(path: string): Promise<RunCredential | undefined> {
  try {
    const { uid, mode } = await lstat(path);
    if (process.getuid !== undefined && (uid !== process.getuid() || (mode & 0o077) !== 0)) return undefined;
    return Kept.safeParse(JSON.parse(Buffer.from(await readLimited(path, limits.subjectTokenSizeBytes)).toString('utf8'))).data;
  } catch {
    return undefined;
  }
}

/** Waits until no step is exchanging; false when that takes too long. */
async function othersDone(folder: string): Promise<boolean> {
  const endsAt = performance.now() + otherStepMs;
  for (;;) {
    const names = await readdir(folder);
    if (!names.some((name) => name.startsWith(marker))) return true;
    if (performance.now() > endsAt) return false;
    await sleep(50);
  }
}

/** Jobs do not always end well, and not every CI system empties its folders: what has expired goes with the next credential. */
async function sweep(root: string, now: Date): Promise<void> {
  for (const name of (await readdir(root)).filter((entry) => entry.startsWith(prefix))) {
    const writtenAt = await lstat(join(root, name, 'credential.json')).then(
      ({ mtimeMs }) => mtimeMs,
      () => now.getTime(),
    );
    if (now.getTime() - writtenAt > 2 * limits.runCredentialLifetimeMs) await rm(join(root, name), { recursive: true, force: true });
  }
}
